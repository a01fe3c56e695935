import { createLogger } from "#libs/logger";
import { observeGauge } from "#libs/telemetry";
import { expiresSoon, ownIdentity } from "#libs/tls";

const dayMs = 86_400_000;

/**
 * Tells of this process's certificate before it expires: in the log, at once and every day, and as a gauge. Gives the
 * function that ends it.
 */
export function watchCertificate(level: string): () => void {
  if (ownIdentity() === undefined) return () => undefined;
  const until = () => ownIdentity()?.expireTime ?? new Date(0);
  const leftMs = () => until().getTime() - Date.now();
  const logger = createLogger({ name: "certificate", level });
  const look = () => {
    const days = Math.floor(leftMs() / dayMs);
    const what = { certificate: ownIdentity()?.name, days };
    if (expiresSoon(until(), new Date()))
      logger.warn(what, "the certificate expires soon; without it nobody listens to this process");
  };
  look();
  const timer = setInterval(look, dayMs).unref();
  const forget = observeGauge({
    name: "stillpoint.certificate.left",
    unit: "s",
    description: "for how long the certificate of this process is still valid",
    read: () => [{ value: leftMs() / 1_000 }],
  });
  return () => {
    clearInterval(timer);
    forget();
  };
}
