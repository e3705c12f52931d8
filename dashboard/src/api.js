// Calls of the public API. A failure is thrown as the coordinator says it: {code, message, reason, metadata, fields}.

/** Longer than the coordinator gives itself. */
const ANSWER_MS = 35_000;

export async function call(service, method, request = {}) {
  let response;
  try {
    response = await fetch(`/api/primacy.v1.${service}/${method}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "Primacy-Request": "1" },
      body: JSON.stringify(request),
      signal: AbortSignal.timeout(ANSWER_MS),
    });
  } catch (error) {
    const why = error.name === "TimeoutError" ? `there was no answer within ${ANSWER_MS / 1000} s` : error.message;
    throw failure("UNREACHABLE", `the coordinator cannot be reached: ${why}`);
  }
  let answer;
  try {
    answer = await response.json();
  } catch {
    throw failure("UNREADABLE", `HTTP ${response.status} without a JSON body: is a proxy in between?`);
  }
  if (!response.ok) throw answer;
  return answer;
}

function failure(reason, message) {
  return { code: "UNAVAILABLE", message, reason, metadata: {}, fields: [] };
}
