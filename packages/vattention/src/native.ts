import { createRequire } from "node:module";
import { VAttentionError } from "./errors.ts";

/** The addon's class; the face checks types and ranges, the addon state. */
export interface NativeKvCache {
  baseAddress(): bigint;
  freePages(): number;
  freeHostPages(): number;
  freeWindows(): number;
  openWindow(): number;
  closeWindow(window: number): void;
  mappedPages(window: number): number;
  grow(window: number, pages: number): void;
  map(window: number, pages: Int32Array): void;
  truncate(window: number, pages: number): void;
  pageAt(window: number, index: number): number;
  allocate(): number;
  retain(page: number): void;
  release(page: number): void;
  references(page: number): number;
  allocateHost(): number;
  releaseHost(hostPage: number): void;
  pageOut(pages: Int32Array, hostPages: Int32Array): Promise<void>;
  pageIn(hostPages: Int32Array, pages: Int32Array): Promise<void>;
  readPage(page: number, into: Uint8Array): void;
  writePage(page: number, from: Uint8Array): void;
  readHostPage(hostPage: number, into: Uint8Array): void;
  read(window: number, offset: number, into: Uint8Array): void;
  write(window: number, offset: number, from: Uint8Array): void;
  zero(page: number): void;
  stats(): KvCacheStats;
  checkIntegrity(): void;
  dispose(): void;
}

/** Bytes, each figure on its own; all but `areas`. */
export interface KvCacheStats {
  /** Address space of all windows. */
  readonly virtualBytes: number;
  /** The device arena, allocated at creation. */
  readonly physicalBytes: number;
  /** Pages with at least one reference. */
  readonly allocatedBytes: number;
  /** Mappings; a page that is mapped twice counts twice. */
  readonly mappedBytes: number;
  /** Pages that are mapped more than once. */
  readonly sharedBytes: number;
  /** The bound of the host tier. */
  readonly hostBytes: number;
  /** Host pages in use. */
  readonly hostAllocatedBytes: number;
  /** Kernel memory areas that the windows cost at most. */
  readonly areas: number;
}

interface Addon {
  readonly KvCache: new (
    pageBytes: number,
    pages: number,
    windows: number,
    windowPages: number,
    hostPages: number,
  ) => NativeKvCache;
  readonly granularity: number;
  setErrorClass(errorClass: typeof VAttentionError): void;
}

let addon: Addon | undefined;

/** @throws VAttentionError KVPAGE_NO_NATIVE */
export function loadAddon(): Addon {
  if (addon !== undefined) return addon;
  const platform = `${process.platform}-${process.arch}`;
  const file = process.env["KVPAGE_VATTENTION_NATIVE"] ?? `../prebuilds/${platform}/kvpage.node`;
  try {
    const loaded = createRequire(import.meta.url)(file) as Addon;
    loaded.setErrorClass(VAttentionError);
    return (addon = loaded);
  } catch (cause) {
    throw new VAttentionError(
      "KVPAGE_NO_NATIVE",
      `the native addon for ${platform} cannot be loaded from ${file}; build it with \`npm run build\``,
      { cause },
    );
  }
}
