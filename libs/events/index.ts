export { type Origin, subjectOfEvent, toEvent } from "./cloud-event.ts";
export { eventsHandlers } from "./handlers.ts";
export { type ProjectorDeps, startProjector } from "./projector.ts";
