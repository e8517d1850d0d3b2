@echo off
rem Windows: @COMMAND@.bat [FOLDER]     (FOLDER is your own folder\selfprompt if none is given)
py -@PYTHON@ -c "" >nul 2>nul && (set PYTHON_HERE=py -@PYTHON@) || (set PYTHON_HERE=python)
%PYTHON_HERE% -c "" >nul 2>nul || goto none
%PYTHON_HERE% "%~dp0stick.py" @COMMAND@ %*
goto end
:none
echo [FAIL] no Python here: install Python @PYTHON@ (64 bit) and call this again
:end
pause
