import { defineConfig } from "vitest/config";

// Tests run on sources across packages: no stale dist, and coverage points at what people read.
const conditions = ["@kvpage/source"];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    // A native crash must be a failed test, never a hung run.
    pool: "forks",
    include: [
      "packages/*/src/**/*.test.ts",
      "apps/*/src/**/*.test.ts",
      "test/**/*.test.ts",
      "tools/**/*.test.ts",
    ],
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
