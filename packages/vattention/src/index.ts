export { KvCache, type KvCacheOptions } from "./kv-cache.ts";
export type { KvCacheStats } from "./native.ts";
export { VAttentionError, type VAttentionErrorCode } from "./errors.ts";
