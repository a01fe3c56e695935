import { InvalidArgumentError } from "commander";

/** CPUs as people write them, "2" or "0.25", in thousandths. */
export function parseCpus(text: string): number {
  const millis = /^\d{1,4}(\.\d{1,3})?$/.test(text) ? Math.round(Number(text) * 1_000) : 0;
  if (millis >= 10) return millis;
  throw new InvalidArgumentError("Write CPUs such as 0.5 or 2; 0.01 at least.");
}
