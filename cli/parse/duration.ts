import { InvalidArgumentError } from "commander";

const unitSeconds: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600 };

/** "90s", "10m", "1h30m" as a Duration of whole seconds; "0" is none. */
export function parseDuration(text: string): { seconds: number } {
  const parts = [...text.matchAll(/(\d{1,9})([smh])/g)];
  const isWhole = parts.length > 0 && parts.map(([part]) => part).join("") === text;
  if (!isWhole && text !== "0") throw new InvalidArgumentError("Write a duration such as 90s, 10m or 1h30m.");
  return { seconds: parts.reduce((sum, [, count, unit = ""]) => sum + Number(count) * (unitSeconds[unit] ?? 0), 0) };
}
