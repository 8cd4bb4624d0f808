import { availableParallelism } from "node:os";
import { StepBatch } from "./batch.ts";
import { ChatTemplate, requireMessages, type ChatMessage } from "./chat-template.ts";
import { invalidArgument, requireBoolean, requireInteger, requireObject, RunnerError } from "./errors.ts";
import { requirePath } from "./model-files.ts";
import type { KvLayout, ModelInfo } from "./model-info.ts";
import { loadAddon, type NativeInfo, type NativeModel } from "./native.ts";

/** Element type of K and V. q8_0 needs heads of a multiple of 32 elements. */
export type KvType = "f16" | "f32" | "q8_0";

const kvTypes: readonly KvType[] = ["f16", "f32", "q8_0"];

export interface ModelOptions {
  /** A GGUF file of the Llama, Mistral, Qwen2 or Qwen3 family. */
  readonly path: string;
  /** Threads that compute a step (default: the processors). */
  readonly threads?: number | undefined;
  /** Plain ggml kernels: faster at depth, but the bits depend on chunks, batches and threads (default false). */
  readonly fast?: boolean | undefined;
  /** Default f16. */
  readonly kvType?: KvType | undefined;
  /** 0..1 while weights are read. */
  readonly onProgress?: ((fraction: number) => void) | undefined;
}

/**
 * A GGUF model on ggml. K and V live at addresses that the caller gives; steps are computed on one native thread
 * (and its pool), in order of the calls.
 *
 * Deterministic unless `fast`: the logits and the K/V bytes of a prefix are bit-identical whatever the chunks, the
 * other sequences of a step, the reuse of a prefix and the number of threads.
 */
export class Model implements AsyncDisposable {
  readonly info: ModelInfo;
  readonly kvLayout: KvLayout;
  /** −1: none. */
  readonly bosToken: number;
  /** −1: none. */
  readonly eosToken: number;
  /** The vocabulary puts a space before a text's first word. */
  readonly addsSpacePrefix: boolean;
  /** The Jinja source, or undefined. */
  readonly chatTemplate: string | undefined;

  #native: NativeModel | undefined;
  #template: ChatTemplate | undefined;
  readonly #addsBos: boolean;
  readonly #steps = new Set<Promise<void>>();

  /**
   * Loads a model, off the main thread.
   *
   * @throws RunnerError KVPAGE_INVALID_ARGUMENT, KVPAGE_MODEL_NOT_FOUND, KVPAGE_MODEL_INVALID,
   *   KVPAGE_MODEL_UNSUPPORTED, KVPAGE_OUT_OF_MEMORY, KVPAGE_NO_NATIVE
   */
  static async load(options: ModelOptions): Promise<Model> {
    requireObject("options", options);
    const { path, threads = availableParallelism(), fast = false, kvType = "f16", onProgress } = options;
    requirePath("path", path);
    requireInteger("threads", threads, 1, 512);
    requireBoolean("fast", fast);
    if (!kvTypes.includes(kvType)) throw invalidArgument("kvType", kvType, kvTypes.join(", "));
    if (onProgress !== undefined && typeof onProgress !== "function") {
      throw invalidArgument("onProgress", onProgress, "a function");
    }
    const progress = onProgress && new Progress(onProgress);
    const native = await loadAddon().load(path, kvTypes.indexOf(kvType), threads, fast, progress?.report);
    try {
      progress?.finish();
      return new Model(native, native.info());
    } catch (error) {
      native.dispose();
      throw error;
    }
  }

  private constructor(native: NativeModel, info: NativeInfo) {
    const { tokenBytes, rowBytes, bosToken, eosToken, addsBos, addsSpacePrefix, chatTemplate, ...model } =
      info;
    this.#native = native;
    this.info = model;
    this.kvLayout = { tokenBytes, rowBytes };
    this.bosToken = bosToken;
    this.eosToken = eosToken;
    this.#addsBos = addsBos;
    this.addsSpacePrefix = addsSpacePrefix;
    this.chatTemplate = chatTemplate === "" ? undefined : chatTemplate;
  }

  /**
   * The one region in which all sequences live. It is not touched; every address of a step must lie in it, a
   * multiple of `kvLayout.rowBytes` from its base. No step may be under way.
   */
  setKvRegion(base: bigint, bytes: number): void {
    if (typeof base !== "bigint" || base <= 0n || base >= 1n << 63n) {
      throw invalidArgument("base", base, "an address as a bigint");
    }
    requireInteger("bytes", bytes, 1, Number.MAX_SAFE_INTEGER);
    if (this.#steps.size > 0) throw invalidArgument("base", base, "no step under way");
    this.#live.setKvRegion(base, bytes);
  }

  /**
   * Runs one step. The batch's inputs are copied during the call; its outputs are written when the promise resolves.
   * The caller guarantees that rows [0, past + count) of each sequence stay mapped until then: an address that is not
   * kills the process. Steps that are asked for meanwhile wait their turn.
   *
   * @param logits receives the raw logits, [sequences with sample = 1][vocabulary]; for tests and research.
   * @throws RunnerError KVPAGE_INVALID_ARGUMENT naming the field, the sequence and the value, before anything is
   *   computed; KVPAGE_STEP_FAILED, KVPAGE_OUT_OF_MEMORY
   */
  async step(batch: StepBatch, logits?: Float32Array): Promise<void> {
    if (!(batch instanceof StepBatch)) throw invalidArgument("batch", batch, "a StepBatch");
    const step = this.#live.step(batch, logits);
    this.#steps.add(step);
    try {
      await step;
    } finally {
      this.#steps.delete(step);
    }
  }

  /**
   * Text to token ids.
   *
   * `addSpecial` (default true) adds BOS and what else the vocabulary wants around a text; `parseSpecial` (default
   * false) reads "<s>" and the like in the text as control tokens: never for text that a user wrote. A rendered chat
   * template is for {@link tokenizeChat}.
   */
  tokenize(text: string, options: { addSpecial?: boolean; parseSpecial?: boolean } = {}): Int32Array {
    if (typeof text !== "string") throw invalidArgument("text", text, "a string");
    const { addSpecial = true, parseSpecial = false } = requireObject("options", options);
    requireBoolean("addSpecial", addSpecial);
    requireBoolean("parseSpecial", parseSpecial);
    return this.#live.tokenize(text, addSpecial, parseSpecial);
  }

  /**
   * What {@link applyChatTemplate} gave, to token ids: control tokens are read from the text (also where a message
   * itself contains one), and BOS stands first exactly once if the model wants one, whether or not the template wrote
   * it.
   */
  tokenizeChat(text: string): Int32Array {
    const tokens = this.tokenize(text, { addSpecial: false, parseSpecial: true });
    if (!this.#addsBos || tokens[0] === this.bosToken) return tokens;
    const all = new Int32Array(tokens.length + 1);
    all[0] = this.bosToken;
    all.set(tokens, 1);
    return all;
  }

  /** The bytes of a token, maybe part of a character; empty for control tokens. */
  tokenBytes(token: number): Uint8Array {
    return this.#live.tokenBytes(this.#token(token));
  }

  isControl(token: number): boolean {
    return this.#live.isControl(this.#token(token));
  }

  isEndOfGeneration(token: number): boolean {
    return this.#live.isEndOfGeneration(this.#token(token));
  }

  /**
   * A conversation as the model was trained to see it.
   *
   * `addGenerationPrompt` (default true) ends it where the assistant's answer begins.
   *
   * @throws RunnerError KVPAGE_CHAT_TEMPLATE if there is no template, or it refuses the messages.
   */
  applyChatTemplate(
    messages: readonly ChatMessage[],
    options: { addGenerationPrompt?: boolean } = {},
  ): string {
    if (this.chatTemplate === undefined) {
      throw new RunnerError(
        "KVPAGE_CHAT_TEMPLATE",
        "the model file has no chat template (tokenizer.chat_template)",
      );
    }
    requireMessages(messages);
    const { addGenerationPrompt = true } = requireObject("options", options);
    requireBoolean("addGenerationPrompt", addGenerationPrompt);
    const text = (token: number) => (token < 0 ? "" : this.#live.tokenText(token));
    this.#template ??= new ChatTemplate(this.chatTemplate, {
      bos: text(this.bosToken),
      eos: text(this.eosToken),
    });
    return this.#template.render(messages, addGenerationPrompt);
  }

  /** Waits for steps under way, then frees the model. Idempotent; afterwards every method throws. */
  async dispose(): Promise<void> {
    const native = this.#native;
    this.#native = undefined;
    await Promise.allSettled(this.#steps);
    native?.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  get #live(): NativeModel {
    if (this.#native === undefined) throw new RunnerError("KVPAGE_DISPOSED", "the model was disposed");
    return this.#native;
  }

  #token(token: number): number {
    return requireInteger("token", token, 0, this.info.vocabulary - 1);
  }
}

/** What the caller's function throws must not surface from a native callback, but from load(). */
class Progress {
  #last = -1;
  #thrown: { readonly error: unknown } | undefined;
  readonly #report: (fraction: number) => void;

  constructor(report: (fraction: number) => void) {
    this.#report = report;
  }

  readonly report = (fraction: number): void => {
    if (this.#thrown !== undefined || fraction <= this.#last) return;
    this.#last = fraction;
    try {
      this.#report(fraction);
    } catch (error) {
      this.#thrown = { error };
    }
  };

  finish(): void {
    this.report(1);
    if (this.#thrown !== undefined) throw this.#thrown.error;
  }
}
