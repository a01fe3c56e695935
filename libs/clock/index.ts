export type { Clock, Random } from "./clock.ts";
export { systemClock, systemRandom } from "./system-clock.ts";
