import type { ScopedServer } from "./scoped-server.ts";

/** Adds grpc.health.v1: serving as long as `health` says so. Gives a function that stops watching it. */
export async function addHealth(server: ScopedServer, health: () => boolean): Promise<() => void> {
  // Imported here and not above: a client has no use for it, and the command line should start fast.
  const { HealthDefinition, HealthServiceImpl, HealthState } = await import("nice-grpc-server-health");
  const state = HealthState();
  const update = () => state.setStatus(health() ? "healthy" : "unhealthy");
  const getStatus = state.getStatus.bind(state);
  state.getStatus = (service) => {
    update();
    return getStatus(service);
  };
  server.add(HealthDefinition, HealthServiceImpl(state));
  const timer = setInterval(update, 1_000).unref();
  return () => clearInterval(timer);
}
