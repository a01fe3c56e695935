let stop: (() => Promise<void>) | undefined;

/** Remembers how to send what is still in memory. */
export function onTelemetryStop(close: () => Promise<void>): void {
  stop = close;
}

/** True while spans are sent. */
export const isTracing = (): boolean => stop !== undefined;

/** Sends the last spans; the last thing that a process does. A collector that is away does not keep it. */
export async function stopTelemetry(): Promise<void> {
  await stop?.().catch(() => undefined);
  stop = undefined;
}
