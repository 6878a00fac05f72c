// Our settings for Scalar, which draws /openapi.json. Loaded before it, because of the next line.
globalThis.__zod_globalConfig = { jitless: true }; // or zod, inside Scalar, tries eval, which the page's policy refuses

// What would call or advertise its makers is switched off; the policy would refuse the calls anyway.
const nothingElsewhere = { telemetry: false, withDefaultFonts: false, agent: { disabled: true }, mcp: { disabled: true } };

const introduction = `
Sign in with \`POST /api/v1/auth/token\`, paste the \`access_token\` into the field **Bearer Token**, and send requests from
this page with **Test Request**. The token stays in the page's memory: a reload forgets it.

This description as a file: [/openapi.json](/openapi.json).`;

const quickstart = `TOKEN=$(curl -s ${location.origin}/api/v1/auth/token \\
  -H 'Content-Type: application/json' \\
  -d '{"email":"...","password":"..."}' \\
  | sed 's/.*"access_token": *"\\([^"]*\\)".*/\\1/')
curl ${location.origin}/api/v1/agents \\
  -H "Authorization: Bearer $TOKEN"`;

// In this order; what is not named here comes last, under its own tag.
const groups = [
  ["chat", "Chat", "Ask an agent: one JSON answer, or a stream of server-sent events."],
  ["runs", "Runs", "Look at a run, follow it from any event on, cancel it."],
  ["conversations", "Conversations", "What was said, page by page. Members see their own, admins the tenant's."],
  ["agents", "Agents", "Who answers."],
  ["tools", "Tools", "What agents may use."],
  ["auth", "Accounts", "Sign in and up, sessions, passwords, invites, service accounts, and the keys that verify our tokens."],
  ["health", "Health", "For probes and monitors."],
  ["default", "Root", "Where everything is."],
];

const draw = (main, api) => {
  api.info.title = "Longshore API";
  api.info.description = `${api.info.description}\n${introduction}`;
  api.tags = groups.map(([name, title, description]) => ({ name, "x-displayName": title, description }));
  const { message } = api.components.schemas.AgentChatRequest.properties;
  message.examples = ["Hello, what can you do?"]; // so that the first request sent from here gets an answer
  // Without an entry here Scalar offers to generate clients, on its makers' site.
  api.info["x-scalar-sdk-installation"] = [{ lang: "Shell", source: quickstart }];
  main.replaceChildren();
  Scalar.createApiReference(main, {
    ...nothingElsewhere,
    content: api,
    servers: [{ url: location.origin, description: "This server" }],
    authentication: { preferredSecurityScheme: "bearer" },
    persistAuth: false,
    documentDownloadType: "none",
    hideClientButton: true,
    showDeveloperTools: "never",
    setPageTitle: () => document.title,
  });
};

document.addEventListener("DOMContentLoaded", () => {
  const main = document.querySelector("#reference");
  fetch("/openapi.json").then((answer) => answer.json()).then((api) => draw(main, api))
    .catch((error) => { main.textContent = `Could not draw /openapi.json: ${error}`; });
});
