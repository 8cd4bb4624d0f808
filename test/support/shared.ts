import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const shared = process.env["KVPAGE_SHARED"] ?? join(root, "../shared");

/**
 * A file of the data that lies beside the repository, and whether it is there. A test that needs an absent one is
 * skipped, and says so.
 */
export function sharedFile(path: string): { path: string; absent: boolean } {
  const file = join(shared, path);
  const absent = !existsSync(file);
  if (absent)
    console.warn(`SKIPPED: ${file} is absent; the tests that need it do not run (set KVPAGE_SHARED)`);
  return { path: file, absent };
}
