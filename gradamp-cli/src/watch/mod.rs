//! `gradamp watch`: shows the dashboard of a run that another process trains or that has ended, or the table of a
//! sweep's runs.

mod cluster;
mod one;
mod table;
mod view;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use ratatui::crossterm::event::{KeyCode, KeyEventKind, KeyModifiers};

use crate::failure::{Failure, INTERRUPTED, Result, SUCCESS};
use crate::screen::{self, Screen, ascii};
use crate::tui::{self, Action, FRAME, Input, Role, Ui};
use crate::{hangup, interrupt, output, terminal};
use gradamp_study::run_folder::Error;
use gradamp_study::sweep::SweepData;

use one::Watched;
use table::Table;

/// `gradamp watch`
#[derive(Args, Debug)]
pub struct WatchArgs {
    /// The folder of a run, which may be in progress, or of a sweep.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Print one frame as plain text and exit.
    #[arg(long)]
    pub once: bool,
    /// End the tasks of a sweep on Slurm. Runs that are being trained save first.
    #[arg(long, conflicts_with = "once")]
    pub cancel: bool,
    /// With --once: the number of columns and rows of the frame.
    #[arg(long, value_name = "COLUMNSxROWS", requires = "once", value_parser = size, allow_hyphen_values = true, default_value = "100x30")]
    pub size: (u16, u16),
}

fn size(text: &str) -> Result<(u16, u16), String> {
    let size =
        text.split_once('x').and_then(|(columns, rows)| Some((columns.parse().ok()?, rows.parse().ok()?)));
    size.filter(|&(columns, rows)| (10..=1000).contains(&columns) && (3..=1000).contains(&rows)).ok_or_else(
        || format!("found {text:?}, expected columns and rows such as 100x30, from 10x3 to 1000x1000"),
    )
}

/// The time between two polls of the folder.
const POLL_INTERVAL: Duration = Duration::from_millis(300);

/// `gradamp watch`; returns the exit code.
pub fn watch(args: &WatchArgs) -> Result<u8> {
    let is_sweep = SweepData::is_sweep(&args.dir);
    check(&args.dir, is_sweep)?;
    if args.cancel {
        return cluster::cancel(&args.dir, is_sweep);
    }
    if args.once {
        let text = if is_sweep { once_table(args)? } else { once_run(args)? };
        let text = text.trim_end();
        match ascii::is_wanted() {
            true => output::result(text.chars().map(ascii::nearest).collect::<String>()),
            false => output::result(text),
        }
        return Ok(SUCCESS);
    }
    if let Some(obstacle) = screen::obstacle() {
        return Err(Failure::usage(format!("{obstacle}; for one frame as plain text add --once")));
    }
    // Errors in the folder are printed before the program changes to full-screen mode.
    let subject = if is_sweep {
        Subject::Sweep(Box::new(Table::open(&args.dir)?))
    } else {
        Subject::Run(Box::new(open(&args.dir)?))
    };
    interrupt::listen_to_leave()?;
    hangup::follow_terminal();
    let mut screen = Screen::acquire().map_err(Failure::failed)?;
    let ended = match subject {
        Subject::Sweep(table) => show_table(&mut screen, *table),
        Subject::Run(run) => show_run(&mut screen, *run, Role::Watch),
    };
    drop(screen);
    match ended {
        Ok(Ended::Left) => Ok(SUCCESS),
        Ok(Ended::Interrupted) => Ok(INTERRUPTED),
        // When the terminal closes, the exit code is the same whether this error or `hangup` notices it first.
        Err(_) if terminal::has_hung_up(&std::io::stdin()) => Ok(INTERRUPTED),
        Err(error) => Err(Failure::failed(error)),
    }
}

/// What is being watched.
enum Subject {
    Sweep(Box<Table>),
    Run(Box<Watched>),
}

/// How the user left the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Left,
    Interrupted,
}

/// Checks that the folder can be watched.
///
/// **Errors:** the folder holds neither a run nor a sweep.
fn check(dir: &Path, is_sweep: bool) -> Result<()> {
    let found = match () {
        () if !dir.is_dir() => "found no such folder",
        () if !is_sweep && !dir.join("config.toml").is_file() => {
            "found neither config.toml nor plan.json in it"
        }
        () => return Ok(()),
    };
    Err(Error::broken(dir, format!("expected the folder of a run or a sweep, {found}")).into())
}

/// Opens a run.
///
/// **Errors:** those of [`Watched::open`]; the run was killed before its `run.json` was written.
fn open(dir: &Path) -> Result<Watched> {
    let watched = Watched::open(dir)?;
    if !watched.has_begun() {
        return Err(Error::broken(
            &dir.join("run.json"),
            "expected a file, found none: the run has not started",
        )
        .into());
    }
    Ok(watched)
}

fn once_run(args: &WatchArgs) -> Result<String> {
    let watched = open(&args.dir)?;
    let ui = Ui::new(Role::Print);
    Ok(tui::view::text(args.size, |frame| {
        tui::view::draw(frame, &watched.dashboard, &ui);
    }))
}

fn once_table(args: &WatchArgs) -> Result<String> {
    let mut table = Table::open(&args.dir)?;
    table.wait_for_tasks();
    Ok(tui::view::text(args.size, |frame| view::draw(frame, &table, Role::Print)))
}

/// Calls `poll` every [`POLL_INTERVAL`]. Draws a frame when `poll` finds something new, and after a key.
fn show<S>(
    screen: &mut Screen,
    state: &mut S,
    mut poll: impl FnMut(&mut S) -> bool,
    mut draw: impl FnMut(&mut S, &mut ratatui::Frame<'_>),
    mut key: impl FnMut(
        &mut S,
        &mut Screen,
        ratatui::crossterm::event::KeyEvent,
    ) -> std::io::Result<Option<Ended>>,
) -> std::io::Result<Ended> {
    let mut polled = Instant::now();
    let mut is_new = true;
    loop {
        if is_new {
            screen.draw(|frame| draw(state, frame))?;
            is_new = false;
        }
        for input in tui::inputs(FRAME)? {
            is_new = true;
            let Input::Key(event) = input else { continue };
            if let Some(ended) = key(state, screen, event)? {
                return Ok(ended);
            }
        }
        if polled.elapsed() >= POLL_INTERVAL {
            is_new |= poll(state);
            polled = Instant::now();
        }
    }
}

fn show_run(screen: &mut Screen, run: Watched, role: Role) -> std::io::Result<Ended> {
    let poll = |(run, _): &mut (Watched, Ui)| run.poll();
    let draw = |(run, ui): &mut (Watched, Ui), frame: &mut ratatui::Frame<'_>| {
        ui.scroll = tui::view::draw(frame, &run.dashboard, ui).min(ui.scroll);
    };
    show(screen, &mut (run, Ui::new(role)), poll, draw, |(_, ui), screen, key| {
        match ui.key(key) {
            Action::Leave | Action::Stop => return Ok(Some(Ended::Left)),
            Action::Interrupt => return Ok(Some(Ended::Interrupted)),
            Action::Redraw => screen.forget()?,
            Action::Look => {}
        }
        Ok(None)
    })
}

fn show_table(screen: &mut Screen, mut table: Table) -> std::io::Result<Ended> {
    let draw = |table: &mut Table, frame: &mut ratatui::Frame<'_>| view::draw(frame, table, Role::Watch);
    show(screen, &mut table, Table::poll, draw, |table, screen, key| {
        if key.kind == KeyEventKind::Release {
            return Ok(None);
        }
        let last = table.rows.len().saturating_sub(1);
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                return Ok(Some(Ended::Interrupted));
            }
            KeyCode::Char('l') if key.modifiers.contains(KeyModifiers::CONTROL) => screen.forget()?,
            KeyCode::Char('q') | KeyCode::Esc => return Ok(Some(Ended::Left)),
            KeyCode::Up | KeyCode::Char('k') => table.chosen = table.chosen.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => table.chosen = (table.chosen + 1).min(last),
            KeyCode::PageUp => table.chosen = table.chosen.saturating_sub(10),
            KeyCode::PageDown => table.chosen = (table.chosen + 10).min(last),
            KeyCode::Home => table.chosen = 0,
            KeyCode::End => table.chosen = last,
            KeyCode::Enter => {
                let Some(dir) = table.run_dir(table.chosen) else { return Ok(None) };
                match Watched::open(&dir).map(|run| show_run(screen, run, Role::WatchOne)) {
                    Ok(ended) => return ended.map(|ended| (ended == Ended::Interrupted).then_some(ended)),
                    Err(error) => table.trouble = Some(error.to_string()),
                }
            }
            _ => {}
        }
        Ok(None)
    })
}

#[cfg(test)]
mod tests;
