export type { Bit, Policy } from "./policy.ts";
