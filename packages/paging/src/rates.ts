/** The number of `prefix:0.1`; undefined if the name is not of this form with a number of 0..1. */
export function parseRate(prefix: string, name: string): number | undefined {
  const match = /^([a-z-]+):(\d*\.?\d+)$/.exec(name);
  if (match === null || match[1] !== prefix) return undefined;
  const rate = Number(match[2]);
  return rate >= 0 && rate <= 1 ? rate : undefined;
}
