import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** The README of a package, whose snippet is followed by what it prints. */
export class Readme {
  readonly text: string;
  readonly #folder: string;

  /** @param test `import.meta.url` of a test in the package's src folder */
  constructor(test: string) {
    this.#folder = fileURLToPath(new URL("..", test));
    this.text = readFileSync(new URL("../README.md", test), "utf8");
  }

  /** What the README says that its snippet prints, and what it does print. */
  async runSnippet(): Promise<{ expected: string; printed: string }> {
    const match = /```js\n(.*?)```\n\nprints\n\n```\n(.+?)```/s.exec(this.text);
    if (match === null) throw new Error("the README has no snippet that is followed by what it prints");
    const [, snippet, expected] = match as unknown as [string, string, string];
    const flags = ["--import", "tsx", "--conditions=@kvpage/source", "--input-type=module", "-e", snippet];
    const { stdout } = await promisify(execFile)(process.execPath, flags, { cwd: this.#folder });
    return { expected, printed: stdout };
  }
}

/** The error codes that a text names, each once, in order. */
export function errorCodes(text: string): string[] {
  return [...new Set(text.match(/KVPAGE_[A-Z_]+/g))].toSorted();
}
