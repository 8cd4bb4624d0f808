/** Something that the user typed cannot be used; the message names the flag, the value and what is expected. */
export class UsageError extends Error {
  override readonly name = "UsageError";
  readonly code = "KVPAGE_USAGE";

  constructor(flag: string, value: string, expected: string) {
    super(`${flag} is "${value}"; expected ${expected}`);
  }
}
