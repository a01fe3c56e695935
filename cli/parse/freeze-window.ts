import { InvalidArgumentError } from "commander";

/** Seconds as the contract wants them: "20" or "20s". The server says what is too short and too long. */
export function parseFreezeWindow(text: string): { seconds: number; nanos: number } {
  const match = /^(\d{1,6})(\.\d{1,3})?s?$/.exec(text);
  if (match === null) throw new InvalidArgumentError("Write seconds, such as 20s.");
  return { seconds: Number(match[1]), nanos: Math.round(Number(match[2] ?? 0) * 1_000_000_000) };
}
