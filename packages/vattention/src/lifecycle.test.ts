import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";

const run = promisify(execFile);
const cwd = fileURLToPath(new URL("..", import.meta.url));

/** What a fresh process prints that runs `script` with KvCache, create() and memfds() at hand. */
async function child(
  script: string,
  options: { args?: string[]; env?: Record<string, string> } = {},
): Promise<string> {
  const prelude = `
    import { readFileSync } from "node:fs";
    import { Worker } from "node:worker_threads";
    import { KvCache } from "@kvpage/vattention";
    const memfds = () => readFileSync("/proc/self/maps", "utf8").split("\\n").filter((l) => l.includes("kvpage (")).length;
    const create = () => new KvCache({ pageBytes: 65536, pages: 512, windows: 2, windowPages: 512, hostPages: 512 });
    const fill = (cache) => Array.from({ length: 512 }, (_, i) => (cache.allocate(), cache.allocateHost(), i));
    const copyAll = (cache) => { const all = Int32Array.from(fill(cache)); return cache.pageOut(all, all); };
  `;
  const { args = [], env = {} } = options;
  const flags = [...args, "--import", "tsx", "--conditions=@kvpage/source", "--input-type=module", "-e"];
  const { stdout } = await run(process.execPath, [...flags, prelude + script], {
    cwd,
    env: { ...process.env, ...env },
    timeout: 50_000,
  });
  return stdout.trim();
}

it("memory that nobody holds any more goes back without dispose", async () => {
  const script = `
    const abandon = () => { const c = create(); c.grow(c.openWindow(), 3); };
    for (let i = 0; i < 4; i++) abandon();
    const before = memfds();
    for (let i = 0; i < 10 && memfds() > 0; i++) { await new Promise(setImmediate); gc(); }
    console.log(before, memfds());
  `;
  expect(await child(script, { args: ["--expose-gc"] })).toMatch(/^[1-9]\d* 0$/);
});

it("dispose gives the memory back at once, a copy under way first ends", async () => {
  const script = `
    const cache = create();
    const copy = copyAll(cache);
    cache.dispose();
    const during = memfds();
    await copy;
    await new Promise(setImmediate);
    console.log(during > 0, memfds());
    const other = create();
    other.dispose();
    console.log(memfds());
  `;
  expect(await child(script)).toBe("true 0\n0");
});

it("a process may end while copies are under way", async () => {
  expect(await child(`void copyAll(create()); console.log("out"); process.exit(0);`)).toBe("out");
  expect(await child(`void copyAll(create()).then(() => console.log("done"));`)).toBe("done");
});

it("a thread may end while copies are under way, and another use the addon afterwards", async () => {
  const script = `
    const code = 'import("tsx/esm/api").then((tsx) => tsx.register() && import("@kvpage/vattention")).then(({ KvCache }) => {' +
      'const cache = new KvCache({ pageBytes: 65536, pages: 512, windows: 2, windowPages: 512, hostPages: 512 });' +
      'const all = Int32Array.from({ length: 512 }, (_, i) => (cache.allocate(), cache.allocateHost(), i));' +
      'for (let i = 0; i < 4; i++) cache.pageOut(all.subarray(i * 128, i * 128 + 128), all.subarray(i * 128, i * 128 + 128));' +
      'return import("node:worker_threads").then((w) => w.parentPort.postMessage(cache.freePages)); })';
    for (let round = 0; round < 4; round++) {
      const worker = new Worker(code, { eval: true });
      await new Promise((resolve, reject) => { worker.on("message", resolve); worker.on("error", reject); });
      await worker.terminate();
    }
    const cache = create();
    await copyAll(cache);
    await cache.close();
    console.log("alive", memfds());
  `;
  expect(await child(script)).toBe("alive 0");
});

it("a missing addon is an error that says what to do", async () => {
  const script = `try { create(); } catch (error) { console.log(error.code, error.message); }`;
  const printed = await child(script, { env: { KVPAGE_VATTENTION_NATIVE: "/nowhere/kvpage.node" } });
  expect(printed).toMatch(/^KVPAGE_NO_NATIVE .*\/nowhere\/kvpage\.node.*npm run build/);
});
