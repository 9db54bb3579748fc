//! Checks the terminal after a program that showed frames has ended in different ways. For each way, this test starts
//! itself again as a process on a pseudo-terminal.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::termios::{Termios, tcgetattr};

use super::*;

const ENTER: &str = "\u{1b}[?1049h";
const LEAVE: &str = "\u{1b}[?1049l";
/// The variable that tells the started process how to end.
const END: &str = "GRADAMP_TEST_END";

/// Runs this test again as a process on a terminal. Returns the terminal's output and its modes before and after.
fn on_a_terminal(test: &str, end: &str) -> (String, Termios, Termios) {
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let OpenptyResult { master, slave } = openpty(&size, None).unwrap();
    let before = tcgetattr(&slave).unwrap();
    let side = || Stdio::from(slave.try_clone().unwrap());
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .envs([(END, end), ("TERM", "xterm"), ("LC_ALL", "C")])
        .stdin(side())
        .stdout(side())
        .stderr(side())
        .spawn()
        .unwrap();
    let seen = thread::spawn(move || {
        let (mut terminal, mut seen, mut some) = (File::from(master), Vec::new(), [0; 4096]);
        // When no process has the terminal open any more, reading is an error on Linux, and returns the end of the
        // file elsewhere.
        while let Ok(n @ 1..) = terminal.read(&mut some) {
            seen.extend_from_slice(&some[..n]);
        }
        String::from_utf8_lossy(&seen).into_owned()
    });
    child.wait().unwrap();
    let after = tcgetattr(&slave).unwrap();
    drop(slave);
    (seen.join().unwrap(), before, after)
}

#[test]
fn the_terminal_is_restored_after_an_error_and_after_a_panic() {
    match std::env::var(END).as_deref() {
        Ok("error") => {
            let folder = tempfile::tempdir().unwrap();
            let out = folder.path().join("run");
            let line = "gradamp train --tui --device cpu --threads 1 --width 2 --batch-size 16 --epochs 3 --data shapes \
                        --lr 1e30 --set data.shapes.train=96 --set data.shapes.test=32 --out";
            let arguments = line.split_whitespace().map(Into::into).chain([out.into_os_string()]);
            std::process::exit(crate::run(arguments).into());
        }
        // Only the panic hook can restore the terminal here.
        Ok("panic") => {
            gradamp_study::shell::name_program("my-program".as_ref());
            std::panic::set_hook(Box::new(crate::report_panic));
            std::mem::forget(Screen::acquire().unwrap());
            panic!("on purpose");
        }
        _ => {}
    }
    let test = "screen::tests::the_terminal_is_restored_after_an_error_and_after_a_panic";
    for (end, words) in [("error", "error: training diverged"), ("panic", "a bug in my-program")] {
        let (seen, before, after) = on_a_terminal(test, end);
        let (_, frames) = seen.split_once(ENTER).unwrap_or_else(|| panic!("{end}: no frame in {seen}"));
        let (frames, rest) = frames
            .split_once(LEAVE)
            .unwrap_or_else(|| panic!("{end}: full-screen mode was not left in {seen}"));
        assert!(rest.contains(words), "{end}: expected {words:?} after the frames, found {rest}");
        assert!(frames.is_ascii(), "frames must be ASCII if LC_ALL is C: {frames}");
        assert_eq!(before, after, "{end}: the terminal's modes must be the same as before");
    }
}
