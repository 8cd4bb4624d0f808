// A program that ends in the middle of steps, in the way that its argument names; endings.test.ts runs it.
import { strict as assert } from "node:assert";
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import { setImmediate as immediate, setTimeout as sleep } from "node:timers/promises";
import { Setup } from "./setup.ts";

const way = process.argv[2];
const tokens = Array.from({ length: 120 }, (_, i) => i + 1);

/** Steps for some tenths of a second, queued. */
async function begin(): Promise<Setup> {
  const setup = await Setup.create({ threads: 2, layers: 6 });
  const batch = setup.batch([0, 1].map((window) => ({ window, tokens })));
  for (let i = 0; i < 15; i++) {
    setup.model.step(batch).then(
      () => {},
      (error: unknown) => assert.fail(String(error)),
    );
  }
  return setup;
}

if (!isMainThread) {
  const setup = await begin();
  parentPort!.postMessage("begun", []);
  await sleep(60_000);
  await setup[Symbol.asyncDispose]();
} else if (way === "exit") {
  await begin();
  await immediate();
  process.exit(0);
} else if (way === "throw") {
  await begin();
  await sleep(5);
  throw new Error("meant to happen");
} else if (way === "terminate") {
  for (let i = 0; i < 3; i++) {
    const worker = new Worker(
      `import("tsx/esm/api").then(({ register }) => (register(), import(${JSON.stringify(import.meta.url)})))`,
      { eval: true },
    );
    worker.once("error", (error) => assert.fail(String(error)));
    await new Promise((begun) => worker.once("message", begun));
    await sleep(10 * i);
    await worker.terminate();
  }
} else if (way === "forget") {
  const collect = (globalThis as { gc?: () => void }).gc!;
  const caches: unknown[] = []; // the rows of steps under way must stay
  for (let i = 0; i < 3; i++) {
    // The model is neither disposed nor kept: its steps end, then it goes when it is collected or the process ends.
    caches.push((await begin()).cache);
    await sleep(10);
    collect();
  }
  await sleep(500);
  for (let i = 0; i < 5; i++) {
    collect();
    await immediate();
  }
} else assert.fail(`no way ${way}`);
console.log("ended well");
