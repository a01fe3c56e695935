import { expect, test } from "vitest";
import { signalNamed } from "./signals.ts";

test("a signal goes by its name, with or without SIG", () => {
  expect(["", "TERM", "sigterm", "SIGUSR1"].map(signalNamed)).toEqual(["SIGKILL", "SIGTERM", "SIGTERM", "SIGUSR1"]);
  expect(["9", "SIGNOSUCH", "constructor", "SIG"].map(signalNamed)).toEqual([
    undefined,
    undefined,
    undefined,
    undefined,
  ]);
});
