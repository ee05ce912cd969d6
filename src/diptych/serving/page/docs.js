// The OpenAPI description as a page: paths, what they take, what they answer.

import { element } from "./elements.js";

const EXAMPLES = {
  "/predict": `curl -F images=@digit.png ${location.origin}/predict`,
  "/layers": `curl -F images=@digit.png ${location.origin}/layers`,
};

function list(entries) {
  const made = element("dl");
  for (const [term, words] of entries) made.append(element("dt", term), element("dd", words));
  return made;
}

function operation(path, method, { description, parameters = [], requestBody, responses }) {
  const section = element("section");
  const title = element("h2");
  title.append(element("code", `${method.toUpperCase()} ${path}`));
  section.append(title, element("p", description));
  if (EXAMPLES[path]) section.append(element("pre", EXAMPLES[path]));
  const takes = [
    ...parameters.map((each) => [each.name, each.description ?? each.schema.title]),
    ...Object.entries(requestBody?.content ?? {}).map(([type, { schema }]) => {
      const { images } = schema.properties;
      return [type, `images: ${images.description ?? images.items.description}`];
    }),
  ];
  if (takes.length) section.append(element("h3", "Takes"), list(takes));
  section.append(element("h3", "Answers"),
    list(Object.entries(responses).map(([status, each]) => [status, each.description])));
  return section;
}

const { paths } = await (await fetch("/openapi.json")).json();
document.getElementById("paths").append(...Object.entries(paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, each]) => operation(path, method, each))));
