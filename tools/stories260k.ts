// Makes a GGUF file of the stories260K model (a llama2.c checkpoint) found beside the repository.
//   npm run -s stories260k -- OUT.gguf
import { existsSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { convertLlama2c } from "@kvpage/runner";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = join(process.env["KVPAGE_SHARED"] ?? join(root, "../shared"), "models/stories260K");
const checkpoint = join(folder, "stories260K.bin");
const tokenizer = join(folder, "tok512.bin");
const out = process.argv[2];

try {
  if (out === undefined) throw new Error("usage: npm run -s stories260k -- OUT.gguf");
  const absent = [checkpoint, tokenizer].find((file) => !existsSync(file));
  if (absent !== undefined) {
    console.error(`skipped: ${absent} is not there; KVPAGE_SHARED names another folder than ../shared`);
  } else {
    await convertLlama2c(checkpoint, tokenizer, out);
    console.log(`wrote ${out}: stories260K, float32, ${statSync(out).size} bytes`);
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
