// Formats our C++ (not third-party) with the pinned clang-format; --check only reports.
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const listed = spawnSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "native"], {
  cwd: root,
  encoding: "utf8",
});
const files = listed.stdout.split("\n").filter((f) => /\.(cpp|h|cu)$/.test(f) && !f.includes("third_party"));
const binary = createRequire(import.meta.url).resolve("clang-format/index.js");
const mode = process.argv.includes("--check") ? ["--dry-run", "-Werror"] : ["-i"];
const result = spawnSync(process.execPath, [binary, ...mode, ...files], { cwd: root, stdio: "inherit" });
process.exit(result.status ?? 1);
