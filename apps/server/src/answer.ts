import type { GeneratedToken } from "@kvpage/engine";
import { TextStream, type TokenText } from "@kvpage/runner";
import { StopStrings } from "./stop-strings.ts";

export interface AnswerToken extends GeneratedToken {
  /** Where the token's text begins in the answer, in UTF-16 units. */
  readonly offset: number;
}

/** A piece of an answer that is certain: its text, and the tokens that begin in it. */
export interface AnswerPart {
  readonly text: string;
  readonly tokens: readonly AnswerToken[];
}

/** Turns an answer's tokens into text as they come, and ends it before a stop string. */
export class Answer {
  readonly #stream: TextStream;
  readonly #stops: StopStrings;
  /** Tokens whose text is still held back, if tokens are wanted at all. */
  #pending: AnswerToken[] = [];
  readonly #keepTokens: boolean;
  /** Decoded so far, held back or not. */
  #decodedLength = 0;
  #certainLength = 0;

  constructor(
    model: TokenText,
    prompt: Int32Array,
    options: { stop: readonly string[]; keepTokens: boolean },
  ) {
    this.#stream = new TextStream(model, prompt.at(-1));
    this.#stops = new StopStrings(options.stop);
    this.#keepTokens = options.keepTokens;
  }

  get stopped(): boolean {
    return this.#stops.stopped;
  }

  push(token: GeneratedToken): AnswerPart {
    if (this.#keepTokens) this.#pending.push({ ...token, offset: this.#decodedLength });
    return this.#part(this.#decode(this.#stream.push(token.token)));
  }

  /** The rest, once no token follows. */
  finish(): AnswerPart {
    let text = this.#decode(this.#stream.flush());
    if (!this.stopped) text += this.#stops.flush();
    const part = this.#part(text);
    // Tokens without text at the answer's end belong to it; what a stop string swallowed does not.
    const rest = this.stopped ? [] : this.#pending;
    return { text, tokens: [...part.tokens, ...rest] };
  }

  #decode(decoded: string): string {
    this.#decodedLength += decoded.length;
    return this.#stops.push(decoded);
  }

  #part(text: string): AnswerPart {
    this.#certainLength += text.length;
    let count = 0;
    while (count < this.#pending.length && this.#pending[count]!.offset < this.#certainLength) count++;
    return { text, tokens: this.#pending.splice(0, count) };
  }
}
