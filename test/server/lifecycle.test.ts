import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ServerProcess, sleep, TemporaryFolder, until } from "./server-process.ts";
import { writeSmallModel } from "./small-model.ts";

const folder = new TemporaryFolder();
const model = folder.file("small.gguf");
const long = { prompt: "Once", max_tokens: 1500, ignore_eos: true, stream: true };

beforeAll(() => writeSmallModel(model));
afterAll(() => folder[Symbol.dispose]());

const run = (...argv: string[]) => new ServerProcess(argv).exited;

describe("start", () => {
  it("says what it serves, where, and a curl line that works", async () => {
    const server = await ServerProcess.start(["--kv-memory", "16MiB"], {
      KVPAGE_CACHE: folder.file("cache"),
    });
    expect(server.stdout).toContain("random");
    expect(server.stdout).toContain("--model FILE.gguf");
    expect(server.stdout).toMatch(/KV memory +16 MiB = \d+ pages = [\d,]+ tokens/);
    const [, url, body] = /^try: curl -s (\S+) -H 'content-type: application\/json' -d '(.*)'$/m.exec(
      server.stdout,
    )!;
    const response = await fetch(url!, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: body!,
    });
    expect(response.status).toBe(200);
    expect((await server.stop()).code).toBe(0);
  });

  it("prints its configuration and exits", async () => {
    const { code, stdout } = await run("--print-config", "--kv-memory", "2MiB", "--policy", "lru");
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ kvMemory: 2 ** 21, policy: "lru", port: 8080 });
  });

  it.each([
    ["--kv-memory", ["--kv-memory", "12XB"]],
    ["--unknown-flag", ["--unknown-flag"]],
    ["--config", ["--config", "/nowhere.json"]],
    ["--model", ["--model", "/nowhere.gguf"]],
    ["--model", ["--model", folder.file("broken.gguf")]],
    ["--kv-memory", ["--model", model, "--kv-memory", "4KiB"]],
    ["--kv-memory", ["--model", model, "--kv-memory", "900TiB"]],
    ["--page-tokens", ["--model", model, "--page-tokens", "3"]],
    ["--context", ["--model", model, "--context", "5000"]],
    ["--policy", ["--policy", "nonsense"]],
  ])("exits 1 and names %s: %j", async (flag, argv) => {
    writeFileSync(folder.file("broken.gguf"), "GGUF, or so it says");
    const { code, stderr, stdout } = await run(...argv, "--port", "0");
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain(flag);
    expect(stderr).not.toContain("    at ");
  });

  it("exits 1 when there is no place for the generated model", async () => {
    writeFileSync(folder.file("a-file"), "");
    const { code, stderr } = await new ServerProcess([], { KVPAGE_CACHE: folder.file("a-file") }).exited;
    expect(code).toBe(1);
    expect(stderr).toContain("--model is not given");
  });

  it("exits 2 when the port is taken", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as AddressInfo;
    const { code, stderr } = await run("--model", model, "--kv-memory", "8MiB", "--port", String(port));
    other.close();
    expect(code).toBe(2);
    expect(stderr).toContain(`--port ${port}`);
  });

  it("exits 2 when the memory cannot be had", async () => {
    const { code, stderr } = await run("--model", model, "--kv-memory", "20TiB", "--port", "0");
    expect(code).toBe(2);
    expect(stderr).toContain("--kv-memory");
  });
});

describe("stop", () => {
  const start = () => ServerProcess.start(["--model", model, "--kv-memory", "16MiB"]);

  it("answers what it has begun after SIGTERM, says 503 meanwhile and exits 0", async () => {
    const server = await start();
    const response = await server.post("/v1/completions", long);
    server.kill("SIGTERM");
    await until(async () => (await fetch(`${server.url}/health`)).status === 503);
    const refused = await server.post("/v1/completions", long);
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "5"]);
    const text = await response.text();
    expect(text).toMatch(/"finish_reason":"length"/);
    expect(text.endsWith("data: [DONE]\n\n")).toBe(true);
    expect((await server.exited).code).toBe(0);
  });

  it("cuts answers short after a second signal and exits 1", async () => {
    const server = await start();
    const response = await server.post("/v1/completions", long);
    server.kill("SIGINT");
    await until(async () => (await fetch(`${server.url}/health`)).status === 503);
    server.kill("SIGINT");
    const text = await response.text();
    expect(text).toContain('"code":"KVPAGE_ABORTED"');
    expect(text).not.toContain("[DONE]");
    expect((await server.exited).code).toBe(1);
  });

  it("at once when idle, an idle connection notwithstanding", async () => {
    const server = await start();
    await fetch(`${server.url}/health`);
    const code = await Promise.race([server.stop().then((exit) => exit.code), sleep(5000)]);
    expect(code).toBe(0);
  });
});
