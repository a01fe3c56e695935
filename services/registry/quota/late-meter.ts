import type { Late } from "../late.ts";
import { type LinkMeter, unmetered } from "../store/link-meter.ts";

/**
 * Counts as soon as the quotas are known. What is pushed before is not refused; it is counted then, with everything
 * else that the store has.
 */
export function lateMeter(quotas: Late<{ readonly meter: LinkMeter }>): LinkMeter {
  const meter = () => quotas.now?.meter ?? unmetered;
  return {
    adding: (link, sizeBytes) => meter().adding(link, sizeBytes),
    added: (link, sizeBytes) => meter().added(link, sizeBytes),
    removed: (links) => meter().removed(links),
    refuseBeyond: (link, sizeBytes) => meter().refuseBeyond(link, sizeBytes),
  };
}
