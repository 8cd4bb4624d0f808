/** What a model is. */
export interface ModelInfo {
  readonly architecture: string;
  /** `general.name` of the file; may be empty. */
  readonly name: string;
  /** The most frequent matrix type, such as "Q8_0". */
  readonly weights: string;
  readonly layers: number;
  readonly embedding: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Token ids are 0..vocabulary − 1. */
  readonly vocabulary: number;
  /** Trained context length in tokens. */
  readonly context: number;
  readonly parameters: number;
  readonly fileBytes: number;
}

/** How K and V stand in memory: all layers of a token adjacent. */
export interface KvLayout {
  /** Bytes of one token's K and V of all layers. */
  readonly tokenBytes: number;
  /** `tokenBytes` rounded up to 64: the distance of consecutive tokens. */
  readonly rowBytes: number;
}
