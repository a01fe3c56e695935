import { constants } from "node:os";
import { commonConfig, readConfig } from "#libs/config";
import { serveMetrics, stopTelemetry } from "#libs/telemetry";
import { takeIdentity } from "#libs/tls";
import { Lifecycle } from "./lifecycle.ts";
import { watchCertificate } from "./watch-certificate.ts";

const signals = ["SIGTERM", "SIGINT"] as const;

/**
 * Starts a service and closes it on SIGTERM or SIGINT. A second signal, or `deadlineMs` after the first, ends the
 * process at once. In the end the process dies of the very signal, so that its parent sees the truth; when something
 * did not close it exits with 1. A start that fails is closed again and its error thrown. Metrics are served from
 * before the start where METRICS_ADDRESS asks for them, and the last spans sent at the end.
 */
export async function runService(start: (lifecycle: Lifecycle) => Promise<void>, deadlineMs = 10_000): Promise<void> {
  const lifecycle = new Lifecycle();
  const stop = (signal: NodeJS.Signals) => {
    for (const each of signals) process.removeListener(each, stop);
    setTimeout(() => process.exit(1), deadlineMs).unref();
    close(lifecycle).then(
      () => {
        process.kill(process.pid, signal);
        // The first process of a container ignores signals that it does not handle (pid_namespaces(7)).
        if (process.pid === 1) process.exit(128 + constants.signals[signal]);
      },
      (error: unknown) => {
        console.error(error);
        process.exit(1);
      },
    );
  };
  for (const signal of signals) process.on(signal, stop);
  try {
    const { LOG_LEVEL, METRICS_ADDRESS, TLS_CA, TLS_CERT, TLS_KEY } = commonConfig;
    const config = readConfig({ LOG_LEVEL, METRICS_ADDRESS, TLS_CA, TLS_CERT, TLS_KEY });
    takeIdentity(config);
    lifecycle.add("certificate", watchCertificate(config.LOG_LEVEL), (end) => end());
    await serveMetrics(config, lifecycle);
    await start(lifecycle);
  } catch (error) {
    const stopping = lifecycle.signal.aborted;
    await lifecycle.close().catch(() => undefined);
    if (!stopping) throw error;
  }
}

async function close(lifecycle: Lifecycle): Promise<void> {
  try {
    await lifecycle.close();
  } finally {
    await stopTelemetry();
  }
}
