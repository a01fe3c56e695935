export { adviceFor } from "./advice.ts";
export { judgeReadiness } from "./judge.ts";
export { isMaterialChange } from "./material.ts";
