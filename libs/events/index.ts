export { encodeLooseEvent } from "./cloud-event.ts";
export { eventsHandlers } from "./handlers.ts";
export { projectedUpTo, startProjector } from "./projector.ts";
