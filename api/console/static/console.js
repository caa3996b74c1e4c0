// What pages do beyond htmx: the reader's own times, running clocks, the colours' button, the editor.
(function () {
  "use strict";

  // Times: written in UTC by the server, shown as the reader's own.
  var absolute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  var sameYear = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  function relative(moment) {
    var seconds = (Date.now() - moment.getTime()) / 1000;
    if (seconds < -5 || seconds > 86400) { return sameYear.format(moment); }
    if (seconds < 45) { return "just now"; }
    if (seconds < 3600) { return Math.max(1, Math.round(seconds / 60)) + " min ago"; }
    return Math.round(seconds / 3600) + " h ago";
  }
  function tellTimes(root) {
    root.querySelectorAll("time[datetime]").forEach(function (element) {
      var moment = new Date(element.getAttribute("datetime"));
      element.title = absolute.format(moment);
      element.textContent = relative(moment);
    });
  }
  function duration(milliseconds) {
    var seconds = Math.max(0, milliseconds) / 1000;
    if (seconds < 60) { return Math.floor(seconds) + " s"; }
    if (seconds < 3600) { return Math.floor(seconds / 60) + " min " + Math.floor(seconds % 60) + " s"; }
    return Math.floor(seconds / 3600) + " h " + Math.floor(seconds % 3600 / 60) + " min";
  }
  function tick() {
    document.querySelectorAll("[data-since]").forEach(function (element) {
      element.textContent = duration(Date.now() - new Date(element.getAttribute("data-since")).getTime());
    });
  }

  // Colours: as the system, light, dark.
  var order = { system: "light", light: "dark", dark: "system" };
  function nameTheme() {
    var name = window.stanchionTheme.get();
    document.querySelectorAll("[data-theme-button]").forEach(function (button) {
      button.setAttribute("aria-label", "Colours: " + (name === "system" ? "as the system" : name));
      button.querySelector("[data-theme-name]").textContent = name.charAt(0).toUpperCase() + name.slice(1);
    });
  }
  document.addEventListener("click", function (event) {
    var button = event.target.closest("[data-theme-button]");
    if (button) { window.stanchionTheme.set(order[window.stanchionTheme.get()]); nameTheme(); }
    document.querySelectorAll("details.popover-details[open]").forEach(function (open) {
      if (!open.contains(event.target)) { open.open = false; }
    });
  });
  document.addEventListener("keydown", function (event) {
    if (event.key !== "Escape") { return; }
    document.querySelectorAll("details.popover-details[open]").forEach(function (open) {
      open.open = false;
      open.querySelector("summary").focus();
    });
  });

  // The editor: line numbers, and faults at their lines.
  function setUpEditor(editor) {
    var text = editor.querySelector("textarea");
    var numbers = editor.querySelector(".editor-lines");
    var back = editor.querySelector(".editor-back");
    var faults = {};
    function draw() {
      var lines = text.value.split("\n");
      numbers.replaceChildren.apply(numbers, lines.map(function (_, index) {
        var number = document.createElement("span");
        number.textContent = String(index + 1);
        if (faults[index + 1]) { number.className = "faulty"; }
        return number;
      }));
      back.replaceChildren.apply(back, lines.map(function (line, index) {
        var row = document.createElement("div");
        var found = faults[index + 1];
        if (found) {
          row.className = "faulty";
          var column = Math.min(Math.max(found.column || 1, 1), line.length + 1) - 1;
          row.append(line.slice(0, column));
          var mark = document.createElement("mark");
          mark.textContent = (line.slice(column).match(/^[^\s,}\]]+/) || [line.slice(column) || " "])[0];
          row.append(mark, line.slice(column + mark.textContent.length));
          var said = document.createElement("span");
          said.className = "editor-said";
          said.textContent = found.message;
          row.append(said);
        } else {
          row.textContent = line || " ";
        }
        return row;
      }));
      text.rows = Math.max(24, lines.length + 1);
    }
    function read() {
      var list = document.getElementById("faults");
      faults = {};
      JSON.parse(list.getAttribute("data-faults")).forEach(function (fault) {
        if (fault.line && !faults[fault.line]) { faults[fault.line] = fault; }
      });
      draw();
    }
    text.addEventListener("input", draw);
    text.addEventListener("scroll", function () { back.scrollLeft = text.scrollLeft; });
    // Tab writes two spaces; after Escape it leaves the field, so that nobody is caught in it.
    var leaving = false;
    text.addEventListener("keydown", function (event) {
      if (event.key === "Escape") { leaving = true; return; }
      if (event.key === "Tab" && !event.shiftKey && !leaving && !event.ctrlKey && !event.metaKey && !event.altKey) {
        event.preventDefault();
        text.setRangeText("  ", text.selectionStart, text.selectionEnd, "end");
        text.dispatchEvent(new Event("input", { bubbles: true }));
      }
      if (event.key !== "Shift") { leaving = false; }
    });
    document.addEventListener("click", function (event) {
      var place = event.target.closest(".fault-place");
      if (!place) { return; }
      var before = text.value.split("\n").slice(0, Number(place.getAttribute("data-line")) - 1).join("\n");
      var at = (before ? before.length + 1 : 0) + Number(place.getAttribute("data-column")) - 1;
      text.focus();
      text.setSelectionRange(at, at);
    });
    document.body.addEventListener("htmx:afterSettle", function (event) {
      if (document.getElementById("faults")) { read(); }
    });
    read();
  }

  function setUp(root) {
    tellTimes(root);
    tick();
  }
  // Many parts can change in one moment: they are looked at together.
  var isDue = false;
  function setUpSoon() {
    if (isDue) { return; }
    isDue = true;
    window.requestAnimationFrame(function () { isDue = false; setUp(document); });
  }
  document.body.addEventListener("htmx:afterSettle", setUpSoon);
  document.body.addEventListener("htmx:oobAfterSwap", setUpSoon);
  // What an execution's page is told: parts by their id.  htmx would take half a minute for a thousand of them.
  document.body.addEventListener("htmx:sseBeforeMessage", function (event) {
    event.preventDefault();
    var sheet = document.createElement("template");
    sheet.innerHTML = event.detail.data;
    Array.from(sheet.content.children).forEach(function (part) {
      var before = document.getElementById(part.id);
      part.removeAttribute("hx-swap-oob");
      if (!before) { return; }
      before.replaceWith(part);
      if (part.querySelector("[hx-post]")) { window.htmx.process(part); }
    });
    setUpSoon();
  });
  function connected(is) {
    var sign = document.getElementById("connection");
    if (sign) { sign.hidden = is; }
  }
  document.body.addEventListener("htmx:sseError", function () { connected(false); });
  document.body.addEventListener("htmx:sseOpen", function () { connected(true); });
  document.body.addEventListener("htmx:sseClose", function () { connected(true); });
  document.body.addEventListener("htmx:sendError", function (event) {
    if (event.detail.requestConfig.verb === "get") { return; }
    var notice = document.getElementById("notice");
    var said = document.createElement("p");
    said.className = "alert alert-danger";
    said.textContent = "The server cannot be reached. Whether it has done this is not known: load the page anew.";
    notice.replaceChildren(said);
  });
  setUp(document);
  nameTheme();
  document.querySelectorAll("[data-editor]").forEach(setUpEditor);
  // On a narrow screen the menu scrolls: where one is shall be seen.
  var here = document.querySelector(".side nav a[aria-current]");
  if (here) { here.scrollIntoView({ block: "nearest", inline: "center" }); }
  var invalid = document.querySelector("main [aria-invalid='true']");
  if (invalid) { invalid.focus(); }
  window.setInterval(tick, 1000);
  window.setInterval(function () { tellTimes(document); }, 30000);
})();
