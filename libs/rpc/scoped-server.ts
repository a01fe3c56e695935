import { createServer, type Server } from "nice-grpc";
import { errorDetailsServerMiddleware } from "nice-grpc-error-details";
import { metricsAreServed } from "#libs/telemetry";
import { type CallScopeOptions, callScope } from "./call-scope.ts";
import { tellCaller } from "./caller.ts";

/** The nice-grpc server under an RpcServer, whose handlers get a CallScope. */
export type ScopedServer = Awaited<ReturnType<typeof createScopedServer>>;

const mebibyte = 1024 * 1024;

/** Makes one. Callers over a Unix socket stay for ever; others connect anew from time to time. */
export async function createScopedServer(isUnix: boolean, options: CallScopeOptions) {
  const server = createServer({
    "grpc.max_receive_message_length": 16 * mebibyte,
    "grpc.max_send_message_length": 16 * mebibyte,
    "grpc.keepalive_time_ms": 20_000,
    "grpc.keepalive_timeout_ms": 5_000,
    // channelz stays on: without it grpc-js 1.14.7 does not know its sessions, and forceShutdown() ends none of them.
    // Clients connect anew from time to time, and so find replicas that came later. Open streams live on.
    ...(options.isSecure ? { interceptors: [tellCaller] } : {}),
    ...(isUnix ? {} : { "grpc.max_connection_age_ms": 60_000 }),
  });
  return (await measured(server)).use(errorDetailsServerMiddleware).use(callScope(options));
}

/** Counts and times calls, where somebody may look at it. */
async function measured(server: Server): Promise<Server> {
  if (!metricsAreServed()) return server;
  const { prometheusServerMiddleware } = await import("nice-grpc-prometheus");
  return server.use(prometheusServerMiddleware());
}
