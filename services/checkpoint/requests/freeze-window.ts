import type { Vm } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";

type FreezeWindow = NonNullable<Vm["spec"]>["freezeWindow"];

/** In ms; 0 where none is set, which is the agent's own limit. */
export const windowMs = (window: FreezeWindow): number =>
  window === undefined ? 0 : Number(window.seconds) * 1_000 + Math.round(window.nanos / 1_000_000);

/** Gives a window back that has 1 s to 60 s, or is not set. Fails with ARGUMENT_INVALID. */
export function checkWindow(window: FreezeWindow): FreezeWindow {
  const ms = windowMs(window);
  if (window === undefined || (ms >= 1_000 && ms <= 60_000)) return window;
  throw new StillpointError("ARGUMENT_INVALID", `a freeze window of ${ms} ms is not between 1 s and 60 s`);
}
