import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const build = join(root, "build/llama.cpp");

/** The path of one of llama.cpp's tools, built on first use from the source that the runner uses. */
export function llamaTool(name: "llama-bench" | "llama-batched-bench"): string {
  const binary = join(build, "bin", name);
  if (!existsSync(binary)) {
    console.error(`building ${name} (once, a few minutes)`);
    const stdio = ["ignore", "ignore", "inherit"] as const;
    execFileSync("cmake", ["-S", join(root, "bench/llama.cpp"), "-B", build], { stdio: [...stdio] });
    const jobs = String(availableParallelism());
    execFileSync("cmake", ["--build", build, "-j", jobs, "--target", name], { stdio: [...stdio] });
  }
  return binary;
}
