import { InvalidArgumentError } from "commander";
import type { RestartPolicy } from "#contracts/container/v1/container";

/** "no", "always", "on-failure", or "on-failure:N" for N times in a row at most. */
export function parseRestart(text: string): RestartPolicy {
  const [, word, retries = "0"] = /^(no|always|on-failure)(?::(\d{1,5}))?$/.exec(text) ?? [];
  if (word === undefined || (word !== "on-failure" && text !== word)) {
    throw new InvalidArgumentError("It is no, always, on-failure or on-failure:N.");
  }
  return { mode: modes[word] ?? "MODE_NO", maxRetries: Number(retries) };
}

const modes: Readonly<Record<string, RestartPolicy["mode"]>> = {
  no: "MODE_NO",
  always: "MODE_ALWAYS",
  "on-failure": "MODE_ON_FAILURE",
};
