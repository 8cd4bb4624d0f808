import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const repositoryRoot = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** A folder of its own for a test file. */
export class TemporaryFolder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "kvpage-server-"));

  file(name: string): string {
    return join(this.path, name);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

export interface Exit {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The real binary, from its sources. */
export class ServerProcess {
  /** Until it ends. */
  readonly exited: Promise<Exit>;
  stdout = "";
  stderr = "";
  #url = "";
  readonly #process: ChildProcess;

  constructor(argv: readonly string[], environment: Record<string, string> = {}) {
    const main = join(repositoryRoot, "apps/server/src/main.ts");
    this.#process = spawn(
      process.execPath,
      ["--conditions=@kvpage/source", "--import", "tsx", main, ...argv],
      // No variable of the tests' own environment configures the server.
      {
        cwd: repositoryRoot,
        env: { ...withoutKvpage(process.env), ...environment },
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    this.#process.stdout!.setEncoding("utf8").on("data", (text: string) => (this.stdout += text));
    this.#process.stderr!.setEncoding("utf8").on("data", (text: string) => (this.stderr += text));
    this.exited = once(this.#process, "close").then(([code]) => ({
      code: code as number | null,
      stdout: this.stdout,
      stderr: this.stderr,
    }));
  }

  /** Starts a server on a free port and waits until it answers. */
  static async start(argv: readonly string[], environment?: Record<string, string>): Promise<ServerProcess> {
    const server = new ServerProcess(["--port", "0", ...argv], environment);
    const listening = () => /^listening on (http:\S+)$/m.exec(server.stdout)?.[1];
    let over = false;
    void server.exited.then(() => (over = true));
    while (listening() === undefined) {
      if (over) throw new Error(`the server ended before it listened:\n${server.stdout}${server.stderr}`);
      await sleep(20);
    }
    server.#url = listening()!;
    return server;
  }

  get url(): string {
    return this.#url;
  }

  /** Posts JSON; a string is sent as it is. */
  async post(path: string, body: unknown): Promise<Response> {
    return fetch(this.url + path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
  }

  /** The sum of a metric over the series that have all of these labels. */
  async metric(name: string, labels: Record<string, string> = {}): Promise<number> {
    const text = await (await fetch(`${this.url}/metrics`)).text();
    const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
    const lines = text.split("\n").filter((line) => /^[^{ ]*/.exec(line)![0] === name);
    if (lines.length === 0) throw new Error(`no metric ${name}`);
    const series = lines.filter((line) => wanted.every((label) => line.includes(label)));
    return series.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
  }

  kill(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  /** Stops it if it still runs. */
  async stop(): Promise<Exit> {
    this.kill("SIGTERM");
    return this.exited;
  }
}

export async function sleep(milliseconds: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Waits until the condition holds; the test's own timeout ends it otherwise. */
export async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(20);
}

function withoutKvpage(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const entries = Object.entries(environment).filter(([name]) => !name.startsWith("KVPAGE_"));
  return Object.fromEntries(entries);
}
