// Before anything is drawn: the colours that the reader has chosen, or those of the system.
(function () {
  "use strict";
  document.documentElement.classList.add("has-script");
  var dark = window.matchMedia("(prefers-color-scheme: dark)");
  function chosen() {
    try { return localStorage.getItem("stanchion-theme"); } catch (error) { return null; }
  }
  function apply() {
    var theme = chosen() || (dark.matches ? "dark" : "light");
    document.documentElement.setAttribute("data-bs-theme", theme);
  }
  window.stanchionTheme = {
    get: function () { return chosen() || "system"; },
    set: function (name) {
      try {
        if (name === "system") { localStorage.removeItem("stanchion-theme"); } else { localStorage.setItem("stanchion-theme", name); }
      } catch (error) { /* a browser that keeps nothing follows the system */ }
      apply();
    }
  };
  dark.addEventListener("change", apply);
  apply();
})();
