//! Downloads from a server on this machine that breaks off, lies, stalls, or knows no ranges.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{fs, thread};

use gradamp_data::published::{PublishedFile, md5};
use tempfile::TempDir;

use super::transfer::{Transfer, check};

/// The content of the file.
fn content() -> Vec<u8> {
    (0..200_000u32).map(|i| (i * 7 + i / 1000) as u8).collect()
}

fn file() -> PublishedFile {
    let (sum, bytes) = md5(&content()[..]).unwrap();
    PublishedFile { name: "set.bin", bytes, md5: sum.leak() }
}

/// The folder and the range of a request.
type Asked = (String, Option<u64>);

/// A server. The folder in an address says what the server does.
struct Server {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (port, asked) = (listener.local_addr().unwrap().port(), Arc::default());
        let noted: Arc<Mutex<_>> = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let noted = Arc::clone(&noted);
                thread::spawn(move || answer(stream, &noted));
            }
        });
        Self { port, asked }
    }

    fn mirrors(&self, folders: &[&str]) -> Vec<String> {
        folders.iter().map(|folder| format!("http://127.0.0.1:{}/{folder}/", self.port)).collect()
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// Answers one request. Errors are those of a client that has gone.
fn answer(mut stream: TcpStream, asked: &Mutex<Vec<Asked>>) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines().map_while(Result::ok);
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let range = headers.iter().find_map(|line| {
        line.to_lowercase().strip_prefix("range: bytes=")?.trim_end_matches('-').parse::<u64>().ok()
    });
    let folder = path.split('/').nth(1)?.to_owned();
    asked.lock().unwrap().push((folder.clone(), range));
    let whole = content();
    let (total, start) = (whole.len(), range.unwrap_or(0) as usize);
    let partial = format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{}/{total}\r\nContent-Length: {}\r\n\r\n",
        total - 1,
        total - start
    );
    let full = format!("HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n");
    let (head, body) = match (folder.as_str(), range) {
        ("missing", _) => ("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\n".into(), b"none".to_vec()),
        ("without-ranges", _) | ("good", None) => (full, whole),
        ("good", Some(_)) => (partial, whole[start..].to_vec()),
        // Sends 30,000 bytes at a time, and then closes the connection.
        ("breaks", None) => (full, whole[..30_000].to_vec()),
        ("breaks", Some(_)) => (partial, whole[start..total.min(start + 30_000)].to_vec()),
        ("lies", None) => (full, vec![1; total]),
        ("lies", Some(_)) => (partial, vec![1; total - start]),
        ("short", _) => ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".into(), vec![2; 5]),
        ("endless", _) => ("HTTP/1.1 200 OK\r\n\r\n".into(), vec![3; total + 1]),
        ("elsewhere", _) => {
            ("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 7-8/200000\r\n\r\n".into(), vec![4; 2])
        }
        ("stalls", _) => (full, whole[..10_000].to_vec()),
        ("silent", _) => (String::new(), Vec::new()),
        _ => return None,
    };
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&body).ok()?;
    stream.flush().ok()?;
    if matches!(folder.as_str(), "stalls" | "silent") {
        thread::sleep(Duration::from_secs(20));
    }
    Some(())
}

struct Place {
    folder: TempDir,
    server: Server,
}

impl Place {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), server: Server::start() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("set.bin")
    }

    fn part(&self) -> PathBuf {
        self.folder.path().join("set.bin.part")
    }

    /// Downloads from the server's folders in turn.
    fn download(&self, folders: &[&str]) -> Result<(), String> {
        let (path, file, mirrors) = (self.path(), file(), self.server.mirrors(folders));
        let transfer =
            Transfer { path: &path, file: &file, mirrors: &mirrors, timeout: Duration::from_secs(1) };
        transfer.run().map_err(|failure| failure.reason())
    }

    #[track_caller]
    fn is_complete(&self) {
        assert_eq!(fs::read(self.path()).unwrap(), content());
        assert!(!self.part().exists());
        assert_eq!(check(&self.path(), &file()), Ok(true));
    }
}

#[test]
fn a_file_is_downloaded_and_verified() {
    let place = Place::new();
    place.download(&["good"]).unwrap();
    place.is_complete();
    assert_eq!(place.server.asked(), [("good".to_owned(), None)]);
}

#[test]
fn a_download_that_breaks_off_is_continued_where_it_ended() {
    let place = Place::new();
    place.download(&["breaks"]).unwrap();
    place.is_complete();
    let ranges: Vec<Option<u64>> = place.server.asked().into_iter().map(|(_, range)| range).collect();
    let expected: Vec<Option<u64>> = (0..7).map(|part| (part > 0).then_some(part * 30_000)).collect();
    assert_eq!(ranges, expected);
}

#[test]
fn bytes_of_an_earlier_call_are_kept_and_continued() {
    let place = Place::new();
    fs::write(place.part(), &content()[..50_000]).unwrap();
    place.download(&["missing", "good"]).unwrap();
    place.is_complete();
    assert_eq!(place.server.asked()[1], ("good".to_owned(), Some(50_000)));
}

#[test]
fn a_server_without_ranges_starts_again() {
    let place = Place::new();
    fs::write(place.part(), &content()[..50_000]).unwrap();
    place.download(&["without-ranges"]).unwrap();
    place.is_complete();
    assert_eq!(place.server.asked().len(), 1, "the whole file is taken from the first answer");
}

#[test]
fn wrong_bytes_of_an_earlier_call_are_replaced() {
    for wrong in [vec![9; 50_000], vec![9; 200_000], vec![9; 300_000]] {
        let place = Place::new();
        fs::write(place.part(), wrong).unwrap();
        place.download(&["good"]).unwrap();
        place.is_complete();
    }
}

#[test]
fn a_file_that_is_not_the_published_one_is_downloaded_again() {
    let place = Place::new();
    fs::write(place.path(), vec![9; 200_000]).unwrap();
    place.download(&["good"]).unwrap();
    place.is_complete();
}

#[test]
fn an_address_that_lies_stalls_or_fails_is_followed_by_the_next() {
    for bad in ["lies", "short", "endless", "elsewhere", "missing", "stalls", "silent"] {
        let place = Place::new();
        place.download(&[bad, "good"]).unwrap_or_else(|error| panic!("{bad}: {error}"));
        place.is_complete();
        assert_eq!(place.server.asked()[0].0, bad);
    }
}

#[test]
fn without_a_good_address_the_error_names_every_reason_and_no_file_appears() {
    let place = Place::new();
    let start = Instant::now();
    let error = place.download(&["missing", "elsewhere", "lies", "short", "endless", "silent"]).unwrap_err();
    for reason in [
        "/missing/set.bin: HTTP 404",
        "/elsewhere/set.bin: was asked for byte 0, and begins with byte 7",
        "/lies/set.bin: sent another file: expected MD5 ",
        "/short/set.bin: has a file of 5 bytes, expected 200000",
        "/endless/set.bin: sends more than the expected 200000 bytes",
        "/silent/set.bin: no data for 1 s",
    ] {
        assert!(error.contains(reason), "expected {reason} in {error}");
    }
    assert!(!place.path().exists() && !place.part().exists(), "wrong bytes were kept");
    assert!(start.elapsed() < Duration::from_secs(15));
    let lies = place.server.asked().iter().filter(|(folder, _)| folder == "lies").count();
    assert_eq!(lies, 1, "an address that sent wrong bytes is not asked again");

    let error = place.download(&["stalls"]).unwrap_err();
    assert!(error.ends_with("10000 of 200000 bytes are kept, and the same command continues"), "{error}");
    assert_eq!(fs::read(place.part()).unwrap(), &content()[..10_000]);
    place.download(&["good"]).unwrap();
    place.is_complete();
}

#[test]
fn a_second_download_of_the_same_file_is_refused() {
    let place = Place::new();
    let held = fs::File::create(place.part()).unwrap();
    held.try_lock().unwrap();
    let error = place.download(&["good"]).unwrap_err();
    assert!(error.ends_with("set.bin.part: another download of this file is running"), "{error}");
    drop(held);
    place.download(&["good"]).unwrap();
    place.is_complete();
}

#[test]
fn an_address_without_a_server_is_an_error() {
    let place = Place::new();
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let (path, file) = (place.path(), file());
    let mirrors = [format!("http://127.0.0.1:{port}/a")];
    let transfer = Transfer { path: &path, file: &file, mirrors: &mirrors, timeout: Duration::from_secs(5) };
    let error = transfer.run().unwrap_err().reason();
    assert!(error.contains(&format!("http://127.0.0.1:{port}/a/set.bin: ")), "{error}");
}
