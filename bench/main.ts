// npm run bench [-- NAME… [options]]: runs bench/NAME/main.ts for each name, or all of them. Options go to each.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const folder = dirname(fileURLToPath(import.meta.url));
const known = readdirSync(folder).filter((name) => existsSync(join(folder, name, "main.ts")));
const args = process.argv.slice(2);
const firstOption = args.findIndex((arg) => arg.startsWith("-"));
const names = args.slice(0, firstOption < 0 ? args.length : firstOption);
const options = args.slice(names.length);

for (const name of names) {
  if (known.includes(name)) continue;
  console.error(`no benchmark is called "${name}"; there are: ${known.join(", ")}`);
  process.exit(1);
}
for (const name of names.length > 0 ? names : known) {
  const script = join(folder, name, "main.ts");
  const run = ["--conditions=@kvpage/source", "--import", "tsx", script, ...options];
  const { status } = spawnSync(process.execPath, run, { stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
}
