//! One request, on a thread of its own, so that a server that sends nothing is noticed.

use std::io::Read;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use gradamp_study::run_folder::VERSION;

/// The bytes that are read at once, and how many such pieces may wait to be written.
const PIECE: usize = 1 << 16;
const WAITING: usize = 16;

/// What the server answered, before its content.
#[derive(Debug)]
pub struct Head {
    /// The status, such as 200.
    pub status: u16,
    /// The place in the file at which the content begins.
    pub start: u64,
    /// The size of the whole file, if the server says it.
    pub total: Option<u64>,
}

enum Event {
    Head(Head),
    Piece(Vec<u8>),
    End,
    Failed(String),
}

/// An answer whose content is still to come.
#[derive(Debug)]
pub struct Answer {
    /// What the server answered.
    pub head: Head,
    events: Receiver<Event>,
    timeout: Duration,
}

/// The address of a file under a base address.
pub fn address(mirror: &str, name: &str) -> String {
    format!("{}/{name}", mirror.trim_end_matches('/'))
}

/// Asks for the file at `url` from byte `start` on. The environment's proxy variables are heeded. Waits up to
/// `timeout` for each piece of the answer.
///
/// **Errors:** there is no connection, or no answer in time.
pub fn get(url: &str, start: u64, timeout: Duration) -> Result<Answer, String> {
    let (sender, events) = sync_channel(WAITING);
    let url = url.to_owned();
    let work = move || {
        let ended = request(&url, start, timeout, &sender);
        let _ = sender.send(ended.map_or_else(Event::Failed, |()| Event::End)); // fails if nobody waits any more
    };
    thread::Builder::new().name("download".into()).spawn(work).map_err(|error| error.to_string())?;
    match next(&events, timeout)? {
        Event::Head(head) => Ok(Answer { head, events, timeout }),
        Event::Failed(reason) => Err(reason),
        Event::Piece(_) | Event::End => Err("the answer has no beginning".into()),
    }
}

impl Answer {
    /// The next bytes; `None` at the end.
    ///
    /// **Errors:** the connection broke, or nothing came in time.
    pub fn piece(&self) -> Result<Option<Vec<u8>>, String> {
        match next(&self.events, self.timeout)? {
            Event::Piece(bytes) => Ok(Some(bytes)),
            Event::Failed(reason) => Err(reason),
            Event::Head(_) | Event::End => Ok(None),
        }
    }
}

fn next(events: &Receiver<Event>, timeout: Duration) -> Result<Event, String> {
    events.recv_timeout(timeout).map_err(|error| match error {
        RecvTimeoutError::Timeout => format!("no data for {} s", timeout.as_secs()),
        RecvTimeoutError::Disconnected => "the connection was given up".into(),
    })
}

fn request(url: &str, start: u64, timeout: Duration, events: &SyncSender<Event>) -> Result<(), String> {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(timeout))
        .user_agent(format!("gradamp/{VERSION}"));
    let agent = ureq::Agent::new_with_config(config.build());
    // The files are packed already, and their bytes are counted as they are.
    let mut request = agent.get(url).header("Accept-Encoding", "identity");
    if start > 0 {
        request = request.header("Range", format!("bytes={start}-"));
    }
    let answer = request.call().map_err(|error| error.to_string())?;
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
    let head = match (answer.status().as_u16(), header("content-range").and_then(range)) {
        (206, Some((start, total))) => Head { status: 206, start, total },
        (status, _) => {
            let total = header("content-length").and_then(|length| length.parse().ok());
            Head { status, start: 0, total }
        }
    };
    let has_content = matches!(head.status, 200 | 206);
    if events.send(Event::Head(head)).is_err() || !has_content {
        return Ok(());
    }
    let mut reader = answer.into_body().into_reader();
    loop {
        let mut piece = vec![0; PIECE];
        let read = reader.read(&mut piece).map_err(|error| error.to_string())?;
        piece.truncate(read);
        if read == 0 || events.send(Event::Piece(piece)).is_err() {
            return Ok(());
        }
    }
}

/// The first byte and the size of the whole file in a header like `bytes 100-199/1000`.
fn range(header: &str) -> Option<(u64, Option<u64>)> {
    let (place, total) = header.strip_prefix("bytes ")?.split_once('/')?;
    Some((place.split_once('-')?.0.parse().ok()?, total.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_addresses_are_read() {
        assert_eq!(range("bytes 100-199/1000"), Some((100, Some(1000))));
        assert_eq!(range("bytes 0-1/*"), Some((0, None)));
        for wrong in ["bytes */1000", "100-199/1000", "bytes x-1/2", "bytes 1/2", ""] {
            assert_eq!(range(wrong), None, "{wrong}");
        }
        assert_eq!(address("http://a/b/", "c"), "http://a/b/c");
        assert_eq!(address("http://a/b", "c"), "http://a/b/c");
    }
}
