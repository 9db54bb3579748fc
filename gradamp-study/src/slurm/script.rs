//! The jobs of a sweep: their options for `sbatch`, and their scripts.

use super::time::TimeLimit;
use crate::shell;
use std::path::{Path, PathBuf};

/// What to ask Slurm for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `--partition`
    pub partition: Option<String>,
    /// `--time` of each task.
    pub time: Option<TimeLimit>,
    /// `--gres` of each task.
    pub gres: Option<String>,
    /// `--cpus-per-task`
    pub cpus: Option<u16>,
    /// The number of tasks that run at the same time; `None` for as many as there are nodes for.
    pub most: Option<usize>,
    /// Further arguments of `sbatch`, which come last, so that they prevail.
    pub more: Vec<String>,
}

/// The jobs of one sweep. All paths are absolute, because the jobs' folder is that of the call.
#[derive(Clone, Debug)]
pub struct Jobs {
    root: String,
    program: String,
    folder: String,
    name: String,
    device: Option<String>,
    request: Request,
}

/// The options of both jobs.
const BOTH: [&str; 5] = ["--parsable", "--nodes=1", "--ntasks=1", "--open-mode=append", "--requeue"];

impl Jobs {
    /// The jobs of the sweep called `name` in `root`. `folder` is the folder of the call, in which relative paths of data are looked up;
    /// `device` replaces the study's device.
    ///
    /// **Errors:** a path with a character that `sbatch` cannot take in the name of an output.
    pub fn new(
        root: &Path,
        program: &Path,
        folder: &Path,
        name: &str,
        device: Option<String>,
        request: Request,
    ) -> Result<Self, String> {
        let text = |path: &Path| {
            let is_plain = |c: char| !c.is_control() && c != '\\';
            path.to_str().filter(|path| path.chars().all(is_plain)).map(str::to_owned).ok_or_else(|| {
                format!(
                    "{}: expected a path of UTF-8 text without backslashes and control characters, which sbatch needs",
                    path.display()
                )
            })
        };
        Ok(Self {
            root: text(root)?,
            program: text(program)?,
            folder: text(folder)?,
            name: name.to_owned(),
            device,
            request,
        })
    }

    /// The folder of the jobs' outputs.
    pub fn outputs(&self) -> PathBuf {
        Path::new(&self.root).join("slurm")
    }

    /// The arguments of `sbatch` for an array of `tasks` tasks; with `after`, it begins when that job has ended.
    pub fn array_arguments(&self, tasks: usize, after: Option<u64>) -> Vec<String> {
        let Request { time, gres, cpus, most, .. } = &self.request;
        let throttle = most.map_or(String::new(), |most| format!("%{most}"));
        let mut own = vec![
            format!("--array=0-{}{throttle}", tasks.saturating_sub(1)),
            format!("--signal=B:USR1@{}", TimeLimit::warning(time.as_ref())),
        ];
        own.extend(time.iter().map(|time| format!("--time={}", time.text)));
        own.extend(gres.iter().map(|gres| format!("--gres={gres}")));
        own.extend(cpus.iter().map(|cpus| format!("--cpus-per-task={cpus}")));
        own.extend(after.map(|job| format!("--dependency=afterany:{job}")));
        self.arguments("%A_%a", own)
    }

    /// The arguments of `sbatch` for the job that collects the results when the jobs in `after` have ended.
    pub fn collect_arguments(&self, after: &[u64]) -> Vec<String> {
        let jobs: Vec<String> = after.iter().map(u64::to_string).collect();
        self.arguments("%j", vec![format!("--dependency=afterany:{}", jobs.join(":"))])
    }

    fn arguments(&self, output: &str, own: Vec<String>) -> Vec<String> {
        // A percent sign begins a pattern in the name of an output.
        let outputs = self.root.replace('%', "%%");
        let mut arguments: Vec<String> = BOTH.map(str::to_owned).to_vec();
        arguments.push(format!("--job-name=gradamp-{}", self.name));
        arguments.push(format!("--chdir={}", self.folder));
        arguments.push(format!("--output={outputs}/slurm/{output}.log"));
        arguments.extend(self.request.partition.iter().map(|partition| format!("--partition={partition}")));
        arguments.extend(own);
        arguments.extend(self.request.more.iter().cloned());
        arguments
    }

    /// The script of an array. Task 0 trains the first of `runs`. Without runs, each task trains one run after the other until all are
    /// done.
    pub fn array_script(&self, runs: &[String]) -> String {
        let (list, run) = match runs {
            [] => (String::new(), ""),
            _ => {
                let names: Vec<String> =
                    runs.iter().map(|run| format!("  {}\n", shell::word(run.as_ref()))).collect();
                (format!("runs=(\n{})\n", names.concat()), " --run \"${runs[$SLURM_ARRAY_TASK_ID]}\"")
            }
        };
        let device = self
            .device
            .as_ref()
            .map_or(String::new(), |device| format!(" --device {}", shell::word(device.as_ref())));
        let command = format!("\"$program\" sweep --planned \"$sweep\"{run} --jobs 1{device}");
        let head = self.head(&format!("Trains one run of a sweep in each task of an array.\n{HEED}"));
        format!("{head}{list}{}", task(&command))
    }

    /// The script of the job that collects the results.
    pub fn collect_script(&self) -> String {
        let head = self.head("Collects the results of a sweep.");
        format!("{head}exec \"$program\" sweep --collect \"$sweep\"\n")
    }

    /// The beginning of a script, which says so if the node does not see the sweep.
    fn head(&self, what: &str) -> String {
        let quoted = |text: &str| shell::word(text.as_ref());
        format!(
            "#!/bin/bash
# {what}
program={}
sweep={}
for path in \"$program\" \"$sweep/plan.json\"; do
    if ! [ -e \"$path\" ]; then
        echo \"error: node $(hostname) does not see $path; the program and the sweep's folder must be on a file system that all nodes share\" >&2
        exit 2
    fi
done
",
            quoted(&self.program),
            quoted(&self.root)
        )
    }
}

/// Heeds requests to stop from the first moment, because a task may be signalled as soon as it begins.
const HEED: &str = "asked=
child=
stop() {
    asked=1
    [ -z \"$child\" ] || kill -TERM \"$child\" 2>/dev/null
}
trap stop TERM USR1 HUP INT";

/// Runs the command of a task. Slurm may signal the shell alone or with the program, so the shell passes every request to stop on and
/// waits until the program has saved. Exit code 130 says that there is more to do, and so does the end by a signal that came before the
/// program heeded it. If Slurm has not ended or requeued the task itself, as
/// before its time limit, the task requeues itself.
fn task(command: &str) -> String {
    format!(
        "{command} &
child=$!
[ -z \"$asked\" ] || stop
wait \"$child\"
while kill -0 \"$child\" 2>/dev/null; do wait \"$child\"; done
wait \"$child\"
code=$?
# The last task of an array has the array's number, by which scontrol would requeue all tasks.
task=${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID
case $code in 129 | 138 | 143) code=130 ;; esac # it was asked to stop before it had begun
if [ \"$code\" = 130 ] && scontrol show job --oneliner \"$task\" | grep -q ' JobState=RUNNING '; then
    echo \"requeued: the run is saved and goes on in another attempt\"
    scontrol requeue \"$task\"
fi
exit \"$code\"
"
    )
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn jobs(root: &str, request: Request) -> Jobs {
        let here = Path::new("/home/me");
        Jobs::new(Path::new(root), Path::new("/opt/gradamp"), here, "s", Some("gpu".into()), request).unwrap()
    }

    #[test]
    fn options_reach_sbatch_and_those_of_the_user_come_last() {
        let request = Request {
            partition: Some("gpu".into()),
            time: "8:00:00".parse().ok(),
            gres: Some("gpu:1".into()),
            cpus: Some(4),
            most: Some(3),
            more: vec!["--account=me".into(), "--signal=B:USR1@300".into()],
        };
        let jobs = jobs("/scratch/100%", request);
        let expected = "--parsable --nodes=1 --ntasks=1 --open-mode=append --requeue --job-name=gradamp-s --chdir=/home/me \
                        --output=/scratch/100%%/slurm/%A_%a.log --partition=gpu --array=0-11%3 --signal=B:USR1@120 --time=8:00:00 \
                        --gres=gpu:1 --cpus-per-task=4 --account=me --signal=B:USR1@300";
        assert_eq!(jobs.array_arguments(12, None).join(" "), expected);
        let collect = jobs.collect_arguments(&[7, 8]).join(" ");
        assert!(
            collect.contains("--dependency=afterany:7:8 --account=me") && !collect.contains("--gres"),
            "{collect}"
        );
        assert!(jobs.array_arguments(2, Some(7)).contains(&"--dependency=afterany:7".to_owned()));
    }

    #[test]
    fn a_path_that_sbatch_cannot_take_is_refused() {
        for root in ["/a\\b", "/a\nb"] {
            let here = Path::new("/");
            let error = Jobs::new(Path::new(root), here, here, "s", None, Request::default()).unwrap_err();
            assert!(error.contains("expected a path of UTF-8 text"), "{error}");
        }
    }

    /// The script runs with a program and a `scontrol` in its place.
    #[cfg(unix)]
    #[test]
    fn a_task_trains_its_run_and_requeues_itself_only_if_slurm_has_not_ended_it() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        let make = |name: &str, text: &str| {
            std::fs::write(at(name), text).unwrap();
            std::fs::set_permissions(at(name), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        };
        std::fs::write(at("plan.json"), "{}").unwrap();
        make(
            "scontrol",
            "#!/bin/sh\necho \"scontrol $*\" >> said\necho \"JobId=7 JobState=$STATE Reason=None\"\n",
        );
        make("program", "#!/bin/sh\necho \"$@\" >> said\nexit $CODE\n");
        let jobs =
            Jobs::new(place.path(), &at("program"), place.path(), "s", None, Request::default()).unwrap();
        make("task.sh", &jobs.array_script(&["a".into(), "b c".into()]));
        let run = |code: &str, state: &str| {
            let path = format!("{}:{}", place.path().display(), std::env::var("PATH").unwrap());
            let mut command = Command::new("bash");
            command.arg(at("task.sh")).current_dir(place.path()).env("PATH", path);
            command
                .env("CODE", code)
                .env("STATE", state)
                .env("SLURM_ARRAY_TASK_ID", "1")
                .env("SLURM_ARRAY_JOB_ID", "7");
            let output = command.output().unwrap();
            let said = std::fs::read_to_string(at("said")).unwrap_or_default();
            let _ = std::fs::remove_file(at("said"));
            (output.status.code(), said, String::from_utf8(output.stderr).unwrap())
        };
        let call = format!("sweep --planned {} --run b c --jobs 1\n", place.path().display());
        for (code, state, requeues) in [
            ("0", "RUNNING", false),
            ("1", "RUNNING", false),
            ("130", "RUNNING", true),
            ("130", "CANCELLED", false),
            ("130", "COMPLETING", false),
            ("143", "RUNNING", true),
        ] {
            let (ended, said, _) = run(code, state);
            assert_eq!(ended, if code == "143" { Some(130) } else { code.parse().ok() });
            assert!(said.starts_with(&call), "{said}");
            assert_eq!(said.contains("scontrol requeue 7_1"), requeues, "{code} {state}: {said}");
        }
        std::fs::remove_file(at("plan.json")).unwrap();
        let (ended, said, error) = run("0", "RUNNING");
        assert!(ended == Some(2) && said.is_empty() && error.contains("does not see"), "{said} {error}");
    }

    /// Whether this process ignores the signal, as far as the system tells.
    #[cfg(unix)]
    fn is_ignored(number: u32) -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        ignored.is_some_and(|mask| mask >> (number - 1) & 1 == 1)
    }

    /// A signal that reaches the shell alone is passed on, and the shell waits for the program.
    #[cfg(unix)]
    #[test]
    fn a_task_passes_signals_on_and_waits_until_the_program_has_saved() {
        let place = tempfile::tempdir().unwrap();
        let program = "trap 'sleep 0.3; touch saved; exit 9' TERM; touch ready; while :; do sleep 0.05; done";
        let command = format!("bash -c {}", shell::word(program.as_ref()));
        std::fs::write(place.path().join("task.sh"), format!("{HEED}\n{}", task(&command))).unwrap();
        // A shell cannot trap a signal that is ignored when it starts, as SIGHUP is below `nohup`.
        for (number, signal) in [(15, "TERM"), (10, "USR1"), (1, "HUP")] {
            if is_ignored(number) {
                continue;
            }
            let mut shell = Command::new("bash").arg("task.sh").current_dir(place.path()).spawn().unwrap();
            let is_there = |name: &str| place.path().join(name).exists();
            for _ in 0..500 {
                if is_there("ready") {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            let kill = ["-s", signal, &shell.id().to_string()].map(str::to_owned);
            for _ in 0..2 {
                assert!(Command::new("kill").args(&kill).status().unwrap().success());
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
            assert_eq!(shell.wait().unwrap().code(), Some(9), "{signal}");
            assert!(is_there("saved"), "{signal}");
            for name in ["ready", "saved"] {
                std::fs::remove_file(place.path().join(name)).unwrap();
            }
        }
    }
}
