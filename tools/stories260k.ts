// Makes a GGUF file of the stories260K model (a llama2.c checkpoint) found beside the repository.
//   npm run -s stories260k -- OUT.gguf
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { convertLlama2c } from "@kvpage/runner";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = join(process.env["KVPAGE_SHARED"] ?? join(root, "../shared"), "models/stories260K");
const out = process.argv[2];

if (out === undefined) {
  console.error("usage: npm run -s stories260k -- OUT.gguf");
  process.exitCode = 1;
} else if (!existsSync(join(folder, "stories260K.bin"))) {
  console.error(`skipped: ${folder} is not there (KVPAGE_SHARED names another place)`);
} else {
  await convertLlama2c(join(folder, "stories260K.bin"), join(folder, "tok512.bin"), out);
  console.log(`wrote ${out}: stories260K, float32`);
}
