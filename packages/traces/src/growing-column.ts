/** A column of numbers whose length is not known in advance. */
export class GrowingColumn<Values extends Uint32Array | Float64Array> {
  #values: Values;
  #make: (length: number) => Values;
  length = 0;

  constructor(make: (length: number) => Values) {
    this.#make = make;
    this.#values = make(1024);
  }

  push(value: number): void {
    if (this.length === this.#values.length) {
      const larger = this.#make(2 * this.length);
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[this.length++] = value;
  }

  /** The values so far; valid until the next push. */
  values(): Values {
    return this.#values.subarray(0, this.length) as Values;
  }
}

export function uint32Column(): GrowingColumn<Uint32Array> {
  return new GrowingColumn((length) => new Uint32Array(length));
}

export function float64Column(): GrowingColumn<Float64Array> {
  return new GrowingColumn((length) => new Float64Array(length));
}
