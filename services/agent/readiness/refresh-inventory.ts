import type { Clock } from "#libs/clock";
import { GuestAgentError } from "../qemu/guest-agent.ts";
import type { AskGuest } from "./guest-facts.ts";

const LONGEST_MS = 10_000;
const LOOK_MS = 100;

/** Lets the dispatcher ask its writers anew. Where that is not allowed, what is known of them stays as old as it is. */
export async function refreshInventory(ask: AskGuest, dispatcher: string, clock: Clock): Promise<void> {
  const giveUpMs = clock.monotonicMs() + LONGEST_MS;
  try {
    const run = { path: dispatcher, arg: ["inventory"] };
    const { pid } = await ask((call) => call<{ pid: number }>("guest-exec", run));
    while (clock.monotonicMs() < giveUpMs) {
      if ((await ask((call) => call<{ exited: boolean }>("guest-exec-status", { pid }))).exited) return;
      await clock.sleep(LOOK_MS);
    }
  } catch (error) {
    if (!(error instanceof GuestAgentError)) throw error;
  }
}
