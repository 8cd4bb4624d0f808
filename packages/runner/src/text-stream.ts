/** What a {@link TextStream} asks of a model. */
export interface TokenText {
  readonly bosToken: number;
  readonly addsSpacePrefix: boolean;
  tokenBytes(token: number): Uint8Array;
}

/**
 * Tokens to text as they come: never half a character. A vocabulary that puts a space before a text's first word
 * has it taken off again where the text begins, that is after BOS.
 */
export class TextStream {
  readonly #model: TokenText;
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  #atStart: boolean;

  /** @param previousToken the last token of the prompt; unset, the text continues something. */
  constructor(model: TokenText, previousToken?: number) {
    this.#model = model;
    this.#atStart = model.addsSpacePrefix && previousToken !== undefined && previousToken === model.bosToken;
  }

  /** The text that this token completes; empty while a character is unfinished. Bytes that are no UTF-8 become U+FFFD. */
  push(token: number): string {
    return this.#trim(this.#decoder.decode(this.#model.tokenBytes(token), { stream: true }));
  }

  /** What is left at the end: U+FFFD for an unfinished character. */
  flush(): string {
    return this.#trim(this.#decoder.decode());
  }

  #trim(text: string): string {
    if (!this.#atStart || text === "") return text;
    this.#atStart = false;
    return text.startsWith(" ") ? text.slice(1) : text;
  }
}
