export { eventsHandlers } from "./handlers.ts";
export { startProjector } from "./projector.ts";
