// Shows in the node itself what a CCM node says, a table where there is one, else its text line for line, colours
// the titles by stage, and keeps the choices of primitives that lead to CCM nodes.
// ComfyUI draws the images of any node, but text only in "Preview as Text", and there as Markdown.

import { app } from "../../scripts/app.js";

const WIDGET = "ccm_display";
const MOST_PX = 260; // higher contents scroll, unless the node has room
const MARGIN = 10; // of a widget in its node
// Title colours by stage, the last part of the category; the light theme makes them light.
const STAGES = { mask: "#23502f", generate: "#1f4a6b", measure: "#694512", evaluate: "#4d3b6b" };
const STYLE = `
.ccm-display { overflow: auto; box-sizing: border-box; padding: 6px 8px; border-radius: 4px; user-select: text;
  color: var(--input-text); background: var(--comfy-input-bg); font: 12px/1.4 ui-monospace, Consolas, Menlo, monospace; }
.ccm-display pre { margin: 0; font: inherit; white-space: pre-wrap; }
.ccm-display pre.columns { white-space: pre; }
.ccm-display table { border-collapse: collapse; white-space: nowrap; font-variant-numeric: tabular-nums; }
.ccm-display th, .ccm-display td { padding: 1px 8px; text-align: right; border-bottom: 1px solid var(--border-color); }
.ccm-display th:first-child, .ccm-display td:first-child { text-align: left; }
.ccm-display th { font-weight: 600; }
.ccm-display thead th { position: sticky; top: -6px; background: var(--comfy-input-bg); }
.ccm-display small, .ccm-display p { color: var(--descrip-text); font-size: 11px; font-weight: 400; }
.ccm-display p { margin: 4px 0 0; }
`;

function element(name, content, title) {
  const made = document.createElement(name);
  made.append(...[content ?? []].flat());
  if (title) made.title = title;
  return made;
}

function heading([name, unit, meaning]) {
  return element("th", unit ? [`${name} `, element("small", unit)] : name, meaning);
}

// The longer side of the table runs down, so that a frame or two fit into a narrow node.
function drawTable({ columns, rows, note }) {
  const upright = rows.length < columns.length - 1;
  const top = upright ? [heading(columns[0]), ...rows.map((row) => element("th", row[0]))] : columns.map(heading);
  const body = upright
    ? columns.slice(1).map((column, i) => [heading(column), ...rows.map((row) => element("td", row[i + 1]))])
    : rows.map((row) => row.map((cell) => element("td", cell)));
  const table = element("table", [
    element("thead", element("tr", top)),
    element("tbody", body.map((cells) => element("tr", cells))),
  ]);
  return note ? [table, element("p", note)] : [table];
}

// Sentences are wrapped to the width of the node; columns that spaces align would fall apart, and scroll.
function drawText(text) {
  const drawn = element("pre", text);
  if (/\S {2,}\S/.test(text)) drawn.className = "columns";
  return [drawn];
}

function display(node) {
  const widget = node.widgets?.find(({ name }) => name === WIDGET);
  if (widget) return widget.element;
  const box = element("div");
  box.className = "ccm-display";
  box.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && box.scrollHeight > box.clientHeight) event.stopPropagation();
  });
  const getMaxHeight = () => box.ccmHeight ?? 60; // what the node has beyond that belongs to its pictures
  const getMinHeight = () => Math.min(getMaxHeight(), MOST_PX);
  const options = { serialize: false, hideOnZoom: false, getMinHeight, getMaxHeight };
  node.addDOMWidget(WIDGET, WIDGET, box, options).serialize = false;
  return box;
}

// The height of the contents in a node of this width: the box itself may not be laid out yet.
function measure(contents, width) {
  const probe = element("div", contents.map((part) => part.cloneNode(true)));
  probe.className = "ccm-display";
  probe.style.cssText = `position: absolute; visibility: hidden; width: ${width}px`;
  document.body.append(probe);
  const height = probe.offsetHeight + 16; // and a scroll bar below
  probe.remove();
  return height;
}

function show(node, output) {
  const [table] = output?.ccm_table ?? [];
  const text = (output?.text ?? []).join("\n");
  if (!table && !text) return;
  const contents = table ? drawTable(table) : drawText(text);
  const box = display(node);
  box.ccmHeight = measure(contents, node.size[0] - 2 * MARGIN) + 2 * MARGIN;
  box.replaceChildren(...contents);
  const [width, height] = node.computeSize();
  node.setSize([Math.max(node.size[0], width), Math.max(node.size[1], height)]);
  node.setDirtyCanvas(true, true);
}

// On "refresh", ComfyUI takes the type of a V3 input for its choices: C, O, M, B and O.
function mendPrimitive(node) {
  const [widget] = node.widgets ?? [];
  const link = app.graph.getLink(node.outputs[0]?.links?.[0]);
  const target = link && app.graph.getNodeById(link.target_id);
  if (!target?.type.startsWith("CCM_") || widget?.options.values !== "COMBO") return;
  const { name } = target.inputs[link.target_slot].widget;
  widget.options.values = target.widgets.find((other) => other.name === name).options.values;
  widget.value = widget.options.values[0];
}

app.registerExtension({
  name: "CCM.Display",
  setup() {
    document.head.append(element("style", STYLE));
  },
  beforeRegisterNodeDef(nodeType, { name, category }) {
    if (!name.startsWith("CCM_")) return;
    nodeType.color = STAGES[category.split("/").at(-1)];
    const { onExecuted } = nodeType.prototype;
    nodeType.prototype.onExecuted = function (output) {
      onExecuted?.call(this, output);
      show(this, output);
    };
  },
  refreshComboInNodes() {
    app.graph.nodes.filter(({ type }) => type === "PrimitiveNode").forEach(mendPrimitive);
  },
  // Coming back to a tab, ComfyUI restores the outputs after the graph, and calls no node.
  afterConfigureGraph() {
    setTimeout(() => {
      for (const node of app.graph.nodes) {
        if (node.type?.startsWith("CCM_")) show(node, app.nodeOutputs?.[node.id]);
      }
    }, 100);
  },
});
