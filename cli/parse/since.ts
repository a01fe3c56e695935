import { InvalidArgumentError } from "commander";
import { parseDuration } from "./duration.ts";

/** A time as RFC 3339 writes it, or how long ago: "10m". */
export const parseSince =
  (now: () => Date = () => new Date()) =>
  (text: string): Date => {
    if (/^\d{4}-\d{2}-\d{2}T/.test(text)) {
      const time = new Date(text);
      if (!Number.isNaN(time.getTime())) return time;
    }
    if (/^\d/.test(text) && !text.includes("T")) return new Date(now().getTime() - parseDuration(text).seconds * 1_000);
    throw new InvalidArgumentError("Write a time such as 2026-03-01T14:00:00Z, or how long ago, such as 10m.");
  };
